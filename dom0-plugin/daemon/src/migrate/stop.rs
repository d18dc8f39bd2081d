//! From the closed gate to the suspended guest.

use super::Migration;
use crate::costs::Seen;
use crate::passthrough;
use crate::report::nanos;
use crate::tee::Tee;
use channel::image::SessionKey;
use channel::link::Residence;
use protocol::progress::Phase;
use protocol::report::Role;
use protocol::status::Purpose;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use stream::Totals;

/// How long a guest may take to say that it is detached, or attached, once it has closed.
pub const ANNOUNCE_PATIENCE: Duration = Duration::from_secs(2);

impl Migration<'_> {
    /// Stop-and-copy, seal, unload, unmap. On an error the programs have their GPU state back.
    pub fn stop(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        let stopped = self
            .under_way
            .check()
            .and_then(|()| self.head())
            .and_then(|()| self.stop_and_copy());
        self.report.stop_s = Some(begun.elapsed().as_secs_f64());
        match stopped {
            Ok(()) => {
                self.left = true;
                self.report.handover.left();
                self.under_way.enter(Phase::Left);
                self.learn();
                self.daemon.reports.put(self.report.clone());
                Ok(())
            }
            Err(reason) => Err(self.fail(reason)),
        }
    }

    fn stop_and_copy(&mut self) -> Result<(), String> {
        self.nobody_new()?;
        let mut totals: BTreeMap<SessionKey, Totals> = self
            .daemon
            .images
            .list(self.domid)
            .iter()
            .filter(|image| self.stored.contains(&image.key))
            .map(|image| {
                let (objects, bytes) = (image.objects, image.bytes);
                (image.key, Totals { objects, bytes })
            })
            .collect();
        if let Some(capture) = &mut self.capture {
            let tee = Tee {
                records: self.records.as_ref(),
                cancelled: &self.cancelled,
                sent: &self.under_way.sent,
                sessions: capture.count(),
            };
            let expected = self.rounds.expected();
            self.under_way
                .begin(Phase::Stop, self.rounds.next(), expected);
            let begun = Instant::now();
            let stop = capture
                .stop(self.daemon.settings.drain_timeout, &tee)
                .and_then(|stop| capture.check().map(|()| stop))
                .map_err(|e| e.to_string())?;
            self.report.gpu_bytes.stop = stop.bytes;
            let drain = Duration::from_nanos(stop.longest_ns);
            let copy = begun.elapsed().saturating_sub(drain);
            self.report.drain_s = Some(drain.as_secs_f64());
            self.report.copy_s = Some(copy.as_secs_f64());
            self.report.compare_s = Some(nanos(stop.compare_ns));
            self.report.compared_bytes = Some(stop.examined);
            totals.extend(capture.totals());
        }
        for session in &mut self.report.sessions {
            session.bytes = totals.get(&session.key).map_or(0, |t| t.bytes);
        }
        let sealing = Instant::now();
        let records = self.records.take().ok_or("no stream")?;
        let (stream, written) = records
            .seal(|key| totals.get(key).copied().unwrap_or_default())
            .map_err(|e| e.to_string())?;
        log::info!(
            "domain {}: sealed: {} records, {} bytes, {} more by reference, {} zero",
            self.domid,
            written.data_records,
            written.stream_bytes,
            written.elided.copies,
            written.elided.zero
        );
        self.note_travelled(written);
        if self.cancelled.load(Ordering::Relaxed) {
            return Err("the operation was cancelled".into());
        }
        if let Some(capture) = &mut self.capture {
            let identity = self
                .daemon
                .identity(self.domid)
                .map_err(|e| e.to_string())?;
            capture
                .save(&self.daemon.images, identity.as_deref(), Purpose::Serve)
                .map_err(|e| e.to_string())?;
            self.report.seal_s = Some(sealing.elapsed().as_secs_f64());
            let unloaded = capture.unload().map_err(|e| e.to_string())?;
            self.report.unload_s = Some(nanos(unloaded.unload_ns));
            if unloaded.devices > 0 && self.devices > 0 && self.report.role != Role::Rehearsal {
                return Err(format!(
                    "its programs still have {} GPU device nodes open or mapped although their driver is unloaded: its PCI \
                     device cannot be taken away",
                    unloaded.devices
                ));
            }
            let closing = Instant::now();
            capture.close().map_err(|e| e.to_string())?;
            self.report.close_s = Some(closing.elapsed().as_secs_f64());
        }
        if let Some(capture) = self.capture.take() {
            self.detached = capture.keys();
            capture
                .keep(&self.daemon.images, Purpose::Serve)
                .map_err(|e| e.to_string())?;
        }
        for key in &self.detached {
            // What the guest has in flight to XenStore should not be cut in two by the suspend.
            let carrier = &self.daemon.carrier;
            if !carrier.await_state(
                self.domid,
                key.session,
                Residence::Detached,
                ANNOUNCE_PATIENCE,
            ) {
                return Err(silent(key));
            }
        }
        if self.report.role != Role::Rehearsal {
            self.send_devices_away()?;
        }
        // A rehearsal ends the stream itself. The helper's is the helper's: here it is closed, so that its receiver
        // sees where it ends.
        self.stream = (self.report.role == Role::Rehearsal).then_some(stream);
        Ok(())
    }

    /// What the next stop will cost, beside copying: what this one did.
    fn learn(&self) {
        let report = &self.report;
        let part = |seconds: Option<f64>| seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
        let (whole, drain, copy) = (
            part(report.stop_s),
            part(report.drain_s),
            part(report.copy_s),
        );
        let detach = part(report.detach_s);
        let rest = whole.zip(drain).zip(copy).map(|((whole, drain), copy)| {
            let others = drain + copy + detach.unwrap_or_default();
            whole.saturating_sub(others)
        });
        let of_session = |key: &SessionKey| {
            let mut all = report.sessions.iter();
            all.find(|s| s.key == *key).map_or(0, |s| s.bytes)
        };
        let sessions = self.detached.iter();
        let sessions = sessions.map(|key| (key.session, of_session(key)));
        self.daemon.experience.learn(
            sessions,
            Seen {
                drain,
                unload: rest,
                detach,
                ..Seen::default()
            },
        );
    }

    /// A program that has come since HEAD is not in the stream: moving it would lose its GPU state.
    fn nobody_new(&self) -> Result<(), String> {
        if self.report.role == Role::Rehearsal {
            return Ok(());
        }
        let now =
            self.daemon.carrier.sessions(self.domid).map_err(|e| {
                format!("the sessions of domain {} cannot be read: {e}", self.domid)
            })?;
        let known = |id| self.report.sessions.iter().any(|s| s.key.session == id);
        match now.announced.iter().find(|a| !known(a.session)) {
            None => Ok(()),
            Some(new) => Err(format!(
                "session {} ({}, pid {}) has come while the domain was being moved; try again",
                new.session, new.program, new.pid
            )),
        }
    }

    /// Nothing in the guest holds the GPU any more.
    fn send_devices_away(&mut self) -> Result<(), String> {
        if self.devices == 0 {
            return Ok(());
        }
        let begun = *self.detaching.insert(Instant::now());
        let devices = passthrough::send_away(self.daemon, self.domid)?;
        self.report.devices = devices.iter().map(ToString::to_string).collect();
        self.report.detach_s = Some(begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// The guest is suspended, or should have been. An error takes the suspend back: something in it would not
    /// survive the move.
    pub fn suspended(&mut self, ok: bool, took: Duration) -> Result<(), String> {
        if ok {
            self.report.handover.suspended(took);
        }
        let left = match ok {
            true => self
                .under_way
                .check()
                .and_then(|()| self.all_left())
                .and_then(|()| self.under_way.commit()),
            false => Ok(()),
        };
        if let (true, Some(begun)) = (ok, self.detaching) {
            self.report.ram.get_or_insert_default().detach_to_suspend_s =
                Some(begun.elapsed().as_secs_f64());
        }
        if !ok {
            log::warn!("domain {}: it was not suspended", self.domid);
        }
        if let Err(reason) = &left {
            log::error!("domain {}: {reason}", self.domid);
            self.report.error = Some(reason.clone());
        }
        self.hand_over();
        left
    }

    /// Whether all GPU state of the guest, which is frozen, is in the stream and no page of it is shared.
    fn all_left(&self) -> Result<(), String> {
        let carrier = &self.daemon.carrier;
        let unread = |e| format!("the sessions of domain {} cannot be read: {e}", self.domid);
        let now = carrier.sessions(self.domid).map_err(unread)?;
        if let Some(odd) = now.nonsense.first() {
            return Err(format!(
                "session {} makes no sense ({})",
                odd.node, odd.reason
            ));
        }
        for a in now.announced {
            let who = format!("session {} ({}, pid {})", a.session, a.program, a.pid);
            let key = SessionKey {
                session: a.session,
                generation: a.generation,
            };
            if a.state != Residence::Detached {
                return Err(format!(
                    "{who} was not detached when the domain was suspended; try again"
                ));
            }
            if !self.report.sessions.iter().any(|s| s.key == key) {
                return Err(format!(
                    "{who} is detached, but image {key} is not in the stream"
                ));
            }
            if carrier.is_open(self.domid, a.session).map_err(unread)? {
                return Err(format!(
                    "{who} was being opened when the domain was suspended; try again"
                ));
            }
        }
        Ok(())
    }
}

/// What to say of a session that has given its state up and does not announce it; its image is kept.
pub fn silent(key: &SessionKey) -> String {
    format!(
        "session {} did not say within {ANNOUNCE_PATIENCE:?} that it is detached; image {key} is kept for it",
        key.session
    )
}
