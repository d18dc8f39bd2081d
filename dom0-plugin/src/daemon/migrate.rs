//! The saving side's conversation with the plugin.
//!
//! ```text
//!   plugin                      Migration                              guest
//!  save, stream fd  ──────>  preflight: nobody blocked,   ── open ──>  shares pages
//!                            everybody answers, Begin     <──────────
//!  precopy … ─────────────>  HEAD once; rounds            <── data ──  runs
//!  stop ──────────────────>  last round, manifests, SEAL  <── data ──  calls wait
//!                            unload; unmap; close         ── close ─>  detached, holds nothing
//!  suspended ─────────────>  asks detached sessions to open: whoever resumes the guest serves it
//!  done, or hang-up ──────>  report
//! ```
//!
//! Whatever fails before `suspended` puts the GPU state back into the running programs. Images stay until their
//! session has them back or the domain is gone.

use super::Daemon;
use super::capture::Capture;
use super::claim::Claim;
use super::images::Purpose;
use super::manual::peers_to_capture;
use super::report::{Report, Role, SessionReport, nanos};
use super::rounds::Rounds;
use super::serve;
use super::socket::Conversation;
use super::stream_end::StreamEnd;
use super::tee::{Records, Tee};
use crate::plugin::wire::{Request, Round};
use crate::stream::{ImageId, MAX_EXTENTS, MAX_PAYLOAD, RecordWriter, Totals};
use channel::image::{SessionId, SessionKey};
use channel::link::{Announcement, Residence};
use serde_json::json;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a guest may take to say that it is detached, or attached, once it has closed.
pub const ANNOUNCE_PATIENCE: Duration = Duration::from_secs(2);

/// One domain on its way out.
pub struct Migration<'d> {
    daemon: &'d Arc<Daemon>,
    domid: u32,
    cancelled: Arc<AtomicBool>,
    claim: Option<Claim>,
    capture: Option<Capture>,
    /// Sessions that were detached before: their images travel as they are.
    stored: Vec<SessionKey>,
    stream: Option<StreamEnd>,
    records: Option<Records>,
    rounds: Rounds,
    /// Sessions whose GPU state is in the spool alone since `stop`.
    detached: Vec<SessionKey>,
    report: Report,
    started: Instant,
}

/// Speaks with the plugin until the save is over.
pub fn converse(daemon: &Arc<Daemon>, talk: &mut Conversation, domid: u32, fd: Option<OwnedFd>) {
    let cancelled = Arc::new(AtomicBool::new(false));
    let Some(fd) = fd else {
        return talk.refuse("`save` came without the stream's descriptor");
    };
    let begun = talk.work(&cancelled, || {
        Migration::begin(daemon, domid, None, fd, &cancelled)
    });
    let mut migration = match begun {
        Ok(Some(migration)) => migration,
        Ok(None) => return talk.answer(json!({ "sessions": 0 })),
        Err(reason) => {
            log::error!("domain {domid}: {reason}");
            return talk.refuse(&reason);
        }
    };
    talk.answer(json!({ "sessions": migration.session_count() }));
    loop {
        let reply = match talk.request::<Request>() {
            Ok(Some(Request::Precopy { .. })) => {
                let round = talk.work(&cancelled, || migration.precopy());
                round.map(|r| json!(r))
            }
            Ok(Some(Request::Stop)) => {
                let stopped = talk.work(&cancelled, || migration.stop());
                stopped.map(|()| json!(migration.report.gpu_bytes))
            }
            Ok(Some(Request::Suspended { ok })) => migration.suspended(ok).map(|()| json!({})),
            Ok(Some(Request::Done { rc })) => {
                let failed = (rc != 0).then_some("the save failed; the toolstack's log says why");
                migration.end(failed);
                return talk.answer(json!({}));
            }
            Ok(Some(other)) => Err(format!("{other:?} does not belong here")),
            Ok(None) => {
                return migration.end(Some("the helper went away: the save was aborted"));
            }
            Err(e) => {
                talk.refuse(&e.to_string());
                return migration.end(Some(&e.to_string()));
            }
        };
        match reply {
            Ok(value) => talk.answer(value),
            Err(reason) => talk.refuse(&reason),
        }
    }
}

impl<'d> Migration<'d> {
    /// Opens all sessions of the domain, or only `only`; `None` where it has none.
    pub fn begin(
        daemon: &'d Arc<Daemon>,
        domid: u32,
        only: Option<SessionId>,
        stream: OwnedFd,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<Option<Self>, String> {
        let claim = daemon
            .claims
            .alone(domid, "a migration", daemon.settings.busy_patience)
            .map_err(|e| e.to_string())?;
        let sessions = daemon
            .carrier
            .sessions(domid)
            .map_err(|e| format!("the sessions of domain {domid} cannot be read: {e}"))?;
        if let Some(odd) = sessions.nonsense.first() {
            return Err(format!(
                "session {} of domain {domid} makes no sense ({}); if nobody needs it: xl-gpu forget {domid} {}",
                odd.node, odd.reason, odd.node
            ));
        }
        let mut announced = sessions.announced;
        announced.retain(|a| only.is_none_or(|id| id == a.session));
        if announced.is_empty() {
            return Ok(None);
        }
        let mut migration = Migration {
            daemon,
            domid,
            cancelled: cancelled.clone(),
            claim: Some(claim),
            capture: None,
            stored: stored(daemon, domid, &announced)?,
            stream: Some(
                StreamEnd::new(stream, cancelled.clone())
                    .map_err(|e| format!("the stream: {e}"))?,
            ),
            records: None,
            rounds: Rounds::new(daemon.settings.dirty_bytes, daemon.settings.rounds),
            detached: Vec::new(),
            report: Report::new(Role::Source, domid),
            started: Instant::now(),
        };
        daemon.tell(domid, "migrating", None);
        match migration.open(&announced) {
            Ok(()) => Ok(Some(migration)),
            Err(reason) => {
                migration.end(Some(&reason));
                Err(reason)
            }
        }
    }

    fn open(&mut self, announced: &[Announcement]) -> Result<(), String> {
        let settings = &self.daemon.settings;
        let peers = peers_to_capture(self.daemon, self.domid, announced)?;
        let keys = if peers.is_empty() {
            Vec::new()
        } else {
            let (capture, _) = Capture::open(
                self.domid,
                peers,
                &self.daemon.images,
                settings.limits,
                settings.open_patience,
            )
            .map_err(|e| e.to_string())?;
            self.capture.insert(capture).keys()
        };
        for key in keys.iter().chain(&self.stored) {
            let a = announced.iter().find(|a| a.session == key.session);
            self.report.sessions.push(SessionReport {
                key: *key,
                program: a.map(|a| a.program.clone()).unwrap_or_default(),
                pid: a.map_or(0, |a| a.pid),
                bytes: 0,
            });
        }
        Ok(())
    }

    /// Sessions that travel.
    pub fn session_count(&self) -> usize {
        self.report.sessions.len()
    }

    /// Writes HEAD, unless that has been done, and what was in the spool before.
    fn head(&mut self) -> Result<(), String> {
        let Some(stream) = self.stream.take() else {
            return Ok(());
        };
        let keys: Vec<SessionKey> = self.report.sessions.iter().map(|s| s.key).collect();
        let id = ImageId::random().map_err(|e| format!("no random numbers: {e}"))?;
        let mut writer = RecordWriter::start(stream, id, &keys).map_err(|e| e.to_string())?;
        for key in &self.stored {
            let image = self.daemon.images.take(self.domid, *key);
            let image = image.ok_or_else(|| format!("image {key} has gone"))?;
            let written = image.batches(MAX_PAYLOAD, MAX_EXTENTS, |batch| {
                writer
                    .data(key, 0, batch)
                    .map_err(|e| Unwritten(e.to_string()))
            });
            self.daemon.images.put_back(self.domid, *key, image, false);
            written.map_err(|e: Unwritten| e.0)?;
        }
        self.records = Some(Mutex::new(writer));
        Ok(())
    }

    /// One round while the programs run.
    pub fn precopy(&mut self) -> Result<Round, String> {
        if self.rounds.has_given_up() {
            return Ok(self.rounds.last());
        }
        let done = self.head().and_then(|()| {
            let number = self.rounds.next();
            let tee = Tee {
                records: self.records.as_ref(),
                cancelled: &self.cancelled,
            };
            match &mut self.capture {
                Some(capture) => capture.round(number, &tee).map_err(|e| e.to_string()),
                None => Ok(Default::default()),
            }
        });
        match done {
            Ok(sums) => {
                self.report.gpu_bytes.precopy.push(sums.bytes);
                let round = self.rounds.done(sums.bytes, sums.dirty);
                log::info!(
                    "domain {}: GPU round {}: {} bytes, {} dirty again",
                    self.domid,
                    round.round,
                    round.bytes,
                    round.dirty_bytes
                );
                Ok(round)
            }
            Err(reason) => Err(self.fail(reason)),
        }
    }

    /// Stop-and-copy, seal, unload, unmap. On an error the programs have their GPU state back.
    pub fn stop(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        let stopped = self.head().and_then(|()| self.stop_and_copy());
        self.report.stop_s = Some(begun.elapsed().as_secs_f64());
        match stopped {
            Ok(()) => {
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
            };
            let stop = capture
                .stop(self.daemon.settings.drain_timeout, &tee)
                .and_then(|stop| capture.check().map(|()| stop))
                .map_err(|e| e.to_string())?;
            self.report.gpu_bytes.stop = stop.bytes;
            self.report.drain_s = Some(nanos(stop.longest_ns));
            totals.extend(capture.totals());
        }
        for session in &mut self.report.sessions {
            session.bytes = totals.get(&session.key).map_or(0, |t| t.bytes);
        }
        let records = self.records.take().ok_or("no stream")?;
        let writer = records.into_inner().unwrap_or_else(|e| e.into_inner());
        let (stream, written) = writer
            .seal(|key| totals.get(key).copied().unwrap_or_default())
            .map_err(|e| e.to_string())?;
        log::info!(
            "domain {}: sealed: {} records, {} bytes",
            self.domid,
            written.data_records,
            written.stream_bytes
        );
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
            let unload_ns = capture
                .unload()
                .and_then(|ns| capture.close().map(|()| ns))
                .map_err(|e| e.to_string())?;
            self.report.unload_s = Some(nanos(unload_ns));
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
        // A rehearsal ends the stream itself. The helper's is the helper's: here it is closed, so that its receiver
        // sees where it ends.
        self.stream = (self.report.role == Role::Rehearsal).then_some(stream);
        Ok(())
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

    /// Puts everything back after a failed step.
    fn fail(&mut self, reason: String) -> String {
        log::error!("domain {}: {reason}", self.domid);
        if let Some(capture) = self.capture.take() {
            capture.undo(&self.daemon.images);
        }
        self.report.error = Some(reason.clone());
        reason
    }

    /// The guest is suspended, or should have been. An error takes the suspend back: something in it would not
    /// survive the move.
    pub fn suspended(&mut self, ok: bool) -> Result<(), String> {
        let left = match ok {
            true => self.all_left(),
            false => Ok(()),
        };
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

    /// From here on the domain is free for whoever resumes it.
    fn hand_over(&mut self) {
        if let Some(claim) = self.claim.take() {
            serve::when_resumed(self.daemon, self.domid, &self.detached, &claim);
        }
    }

    /// The save is over; `failed` says why where it was for nothing.
    pub fn end(mut self, failed: Option<&str>) {
        if let Some(capture) = self.capture.take() {
            capture.undo(&self.daemon.images);
        }
        self.report.total_s = Some(self.started.elapsed().as_secs_f64());
        let error = self.report.error.take().or(failed.map(str::to_owned));
        self.report.ok = Some(error.is_none());
        self.report.error = error.clone();
        match &error {
            None => {
                log::info!("domain {}: its GPU state has left", self.domid);
                self.daemon.tell(self.domid, "detached", None);
            }
            Some(reason) => {
                log::error!("domain {}: the migration ended: {reason}", self.domid);
                self.daemon.tell(self.domid, "failed", Some(reason));
            }
        }
        self.daemon.reports.put(self.report.clone());
        self.hand_over();
        serve::look(self.daemon, self.domid);
    }

    /// For a rehearsal: the stream, sealed.
    pub(super) fn take_stream(&mut self) -> Option<StreamEnd> {
        self.stream.take()
    }

    /// For a rehearsal: what has been measured, and the domain, still alone.
    pub(super) fn into_rehearsal(mut self) -> (Report, Option<Claim>) {
        (self.report.clone(), self.claim.take())
    }

    /// Marks the report as that of a rehearsal.
    pub(super) fn rehearse(&mut self) {
        self.report.role = Role::Rehearsal;
    }
}

/// Images of sessions that are detached already; an error where one is not here.
fn stored(
    daemon: &Daemon,
    domid: u32,
    announced: &[Announcement],
) -> Result<Vec<SessionKey>, String> {
    announced
        .iter()
        .filter(|a| a.state == Residence::Detached)
        .map(|a| {
            let key = SessionKey {
                session: a.session,
                generation: a.generation,
            };
            match daemon.images.has(domid, &key) {
                true => Ok(key),
                false => Err(format!(
                    "session {} ({}, pid {}) is detached and its image is not here: nothing could be moved of it",
                    a.session, a.program, a.pid
                )),
            }
        })
        .collect()
}

/// What to say of a session that has given its state up and does not announce it; its image is kept.
pub fn silent(key: &SessionKey) -> String {
    format!(
        "session {} did not say within {ANNOUNCE_PATIENCE:?} that it is detached; image {key} is kept for it",
        key.session
    )
}

/// Why an image could not be written into a stream.
struct Unwritten(String);

impl From<crate::spool::SpoolError> for Unwritten {
    fn from(e: crate::spool::SpoolError) -> Self {
        Unwritten(e.to_string())
    }
}
