//! From the closed gate to a domain without GPU state or device, step by step.

use super::error::MigrationError;
use super::outgoing::Outgoing;
use crate::capture::Capture;
use crate::capture_sink::Records;
use crate::cost_model::{Load, Seen};
use crate::laps::Laps;
use crate::rounds::Rounds;
use crate::stopping::stop_together;
use channel::image::SessionKey;
use protocol::blackout::Part;
use protocol::progress::Phase;
use protocol::status::Purpose;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use stream::StreamEnd;
use stream::Totals;

/// A stop under way. Each step is a lap or more of its clock.
pub struct Stop<'a, 'd> {
    out: &'a mut Outgoing<'d>,
    laps: Laps,
}

impl<'a, 'd> Stop<'a, 'd> {
    /// The programs' calls wait from now on.
    pub fn begin(out: &'a mut Outgoing<'d>) -> Self {
        let laps = Laps::start();
        Stop { out, laps }
    }

    /// Empties the queues and sends the last changed chunks.
    pub fn last_chunks(
        &mut self,
        capture: &mut Capture,
        records: &Records,
        rounds: &Rounds,
    ) -> Result<(), MigrationError> {
        let (number, expected) = (rounds.next(), rounds.expected());
        self.out.under_way.begin(Phase::Stop, number, expected);
        let sink = self.out.sink(records, capture);
        let timeout = self.out.daemon.settings.drain_timeout;
        let at_rest = stop_together(capture, &sink, timeout, number, expected)?;
        let stop = at_rest.sums;
        self.laps = at_rest.laps;
        if at_rest.tries > 1 {
            // The programs have run meanwhile, and others may have been started.
            self.out.may_stop()?;
        }
        capture.check()?;
        let drain = Duration::from_nanos(stop.longest_ns);
        self.laps.split(Part::Drain, drain, Part::Copy);
        let report = &mut self.out.report;
        report.gpu_bytes.stop = stop.bytes;
        report.stops = Some(at_rest.tries);
        report.compare_s = Some(Duration::from_nanos(stop.compare_ns).as_secs_f64());
        report.compared_bytes = Some(stop.examined);
        let blocked = self.laps.so_far().known();
        let began = self.out.started.elapsed().saturating_sub(blocked);
        report.stop_start_s = Some(began.as_secs_f64());
        self.note();
        Ok(())
    }

    /// Seals the stream; what the images will be labelled with.
    pub fn seal(
        &mut self,
        capture: &Capture,
        stored: &[SessionKey],
        records: Records,
    ) -> Result<(StreamEnd, Option<String>), MigrationError> {
        let (daemon, domid) = (self.out.daemon, self.out.domid);
        let images = daemon.images.list(domid).into_iter();
        let mut totals: BTreeMap<SessionKey, Totals> = images
            .filter(|image| stored.contains(&image.key))
            .map(|image| {
                let (objects, bytes) = (image.objects, image.bytes);
                (image.key, Totals { objects, bytes })
            })
            .collect();
        totals.extend(capture.totals());
        for session in &mut self.out.report.sessions {
            session.bytes = totals.get(&session.key).map_or(0, |t| t.bytes);
        }
        let (stream, written) = records.seal(|key| totals.get(key).copied().unwrap_or_default())?;
        log::info!(
            "domain {domid}: sealed: {} records, {} bytes, {} more by reference, {} zero",
            written.data_records,
            written.stream_bytes,
            written.elided.copies,
            written.elided.zero
        );
        self.out.note_elided(written);
        if self.out.cancelled.load(Ordering::Relaxed) {
            return Err(MigrationError::Cancelled);
        }
        Ok((stream, daemon.identity(domid)?))
    }

    /// Images on record, drivers unloaded, pages unmapped.
    pub fn release(
        &mut self,
        capture: Capture,
        identity: Option<&str>,
    ) -> Result<(), MigrationError> {
        let free = self.out.leaves() && self.out.devices > 0;
        let (images, laps) = (&self.out.daemon.images, &mut self.laps);
        capture.release(images, identity, Purpose::Serve, free, laps)?;
        self.note();
        Ok(())
    }

    /// Nothing in the guest holds the GPU any more: it says so, and its devices go.
    pub fn let_devices_go(&mut self, detached: &[SessionKey]) -> Result<(), MigrationError> {
        let (daemon, domid) = (self.out.daemon, self.out.domid);
        let patience = daemon.settings.open_patience;
        daemon.carrier.await_detached(domid, detached, patience)?;
        self.laps.end(Part::Close);
        if self.out.leaves() && self.out.devices > 0 {
            let devices = daemon.devices.send_away(domid)?;
            self.out.report.devices = devices.iter().map(ToString::to_string).collect();
            self.laps.end(Part::Detach);
        }
        self.note();
        Ok(())
    }

    fn note(&mut self) {
        let blackout = self.laps.so_far();
        self.out.report.stop_s = Some(blackout.known().as_secs_f64());
        self.out.report.blackout = blackout;
    }

    /// It has failed, and the programs wait on.
    pub fn give_up(self) -> Laps {
        self.laps
    }

    /// It is done: what the next stop will cost, beside copying, is what this one did. The clock runs on.
    pub fn end(self, detached: &[SessionKey]) -> Laps {
        let report = &self.out.report;
        let part = |part| report.blackout.get(part);
        let unload = [Part::Seal, Part::Unload, Part::Close];
        let of_session = |key: &SessionKey| {
            let mut all = report.sessions.iter();
            let of = all.find(|s| s.key == *key);
            of.map_or(Load::default(), |s| Load {
                bytes: s.bytes,
                left: s.left_to_driver,
            })
        };
        let sessions = detached.iter().map(|key| (key.session, of_session(key)));
        // Nothing was drained where every session was detached before.
        let any = !detached.is_empty();
        let unload = any.then(|| unload.into_iter().filter_map(part).sum());
        let seen = Seen {
            drain: part(Part::Drain).filter(|_| any),
            unload,
            detach: part(Part::Detach),
            ..Seen::default()
        };
        let daemon = self.out.daemon;
        daemon.costs.learn(sessions, seen);
        self.out.under_way.leave();
        daemon.reports.put(report.clone(), Some(self.laps.clone()));
        self.laps
    }
}
