//! The saving side's conversation with the plugin.
//!
//! ```text
//!   plugin                      Migration                              guest
//!  save, stream fd  ──────>  pre-flight (doctor): by what    ── open ──>  shares pages
//!                            is seen, by what they answer  <──────────
//!  precopy … ─────────────>  HEAD once; rounds            <── data ──  runs
//!  stop ──────────────────>  last round, manifests, SEAL  <── data ──  calls wait
//!                            unload; unmap; close         ── close ─>  detached, holds nothing
//!                            detach PCI devices           ─────────>  no device
//!  suspended ─────────────>  asks detached sessions to open: whoever resumes the guest serves it
//!  done, or hang-up ──────>  report
//! ```
//!
//! Whatever fails before `suspended` puts the GPU state back into the running programs. Images stay until their
//! session has them back or the domain is gone.

use crate::capture::Capture;
use crate::claim::Claim;
use crate::doctor::{self, Asked, Patient};
use crate::manual::peers_to_capture;
use crate::ram_report;
use crate::rounds::{Costs, Rounds};
use crate::serve;
use crate::socket::Conversation;
use crate::steering::UnderWay;
use crate::tee::Records;
use crate::{Daemon, passthrough};
use channel::image::{SessionId, SessionKey};
use channel::link::{Announcement, Residence};
use protocol::helper::Request;
use protocol::ram::RamFigures;
use protocol::report::{Report, Role, SessionReport};
use serde_json::json;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use stream::{Elided, ImageId, MAX_EXTENTS, MAX_PAYLOAD, StreamEnd, Written};

mod precopy;
mod stop;

pub use stop::{ANNOUNCE_PATIENCE, silent};

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
    /// When the last round began, since the start.
    round_began: Duration,
    /// The GPU state is in the stream and nowhere else.
    left: bool,
    /// What others see of it, and order.
    under_way: UnderWay,
    /// PCI devices that have to be detached at the stop.
    devices: usize,
    /// When they began to be.
    detaching: Option<Instant>,
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
        Migration::begin(daemon, domid, None, Role::Source, fd, &cancelled)
    });
    let mut migration = match begun {
        Ok(Some(migration)) => migration,
        Ok(None) => return talk.answer(json!({ "sessions": 0 })),
        Err(reason) => {
            log::error!("domain {domid}: {reason}");
            return talk.refuse(&reason);
        }
    };
    talk.answer(json!({
        "sessions": migration.session_count(),
        "devices": migration.devices,
        "ram": daemon.settings.ram,
    }));
    loop {
        let reply = match talk.request::<Request>() {
            Ok(Some(Request::Precopy { dirty_pages, .. })) => {
                let round = talk.work(&cancelled, || {
                    migration.precopy(dirty_pages.try_into().ok())
                });
                round.map(|r| json!(r))
            }
            Ok(Some(Request::Stop)) => {
                let stopped = talk.work(&cancelled, || migration.stop());
                stopped.map(|()| json!(migration.report.gpu_bytes))
            }
            Ok(Some(Request::Suspended { ok, took_ns })) => migration
                .suspended(ok, Duration::from_nanos(took_ns))
                .map(|()| json!({})),
            Ok(Some(Request::Head)) => {
                let written = talk.work(&cancelled, || migration.head());
                written.map(|()| json!({})).map_err(|e| migration.fail(e))
            }
            Ok(Some(Request::Ram(figures))) => {
                migration.ram(figures);
                Ok(json!({}))
            }
            Ok(Some(Request::Done { rc, ram })) => {
                if let Some(figures) = ram {
                    migration.ram(figures);
                }
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
        role: Role,
        stream: OwnedFd,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<Option<Self>, String> {
        let claim = daemon
            .alone(domid, "a migration", cancelled)
            .map_err(|e| e.to_string())?;
        let asked = match role {
            Role::Rehearsal => Asked::Rehearsal,
            _ => Asked::Preflight,
        };
        let patient = Patient::look(daemon, domid, only, asked)?;
        if patient.announced.is_empty() && patient.nonsense.is_empty() {
            return Ok(None);
        }
        doctor::refuse(domid, &patient.seen())?;
        let mut migration = Migration {
            daemon,
            domid,
            cancelled: cancelled.clone(),
            claim: Some(claim),
            capture: None,
            stored: stored(&patient.announced),
            stream: Some(
                StreamEnd::new(stream, cancelled.clone())
                    .map_err(|e| format!("the stream: {e}"))?,
            ),
            records: None,
            rounds: Rounds::new(daemon.settings.precopy, Costs::default(), 0),
            round_began: Duration::ZERO,
            left: false,
            under_way: UnderWay::begin(daemon, domid, cancelled.clone()),
            devices: passthrough::assigned(daemon, domid)?.len(),
            detaching: None,
            detached: Vec::new(),
            report: Report::new(role, domid),
            started: Instant::now(),
        };
        daemon.tell(domid, "migrating", None);
        match migration.open(&patient) {
            Ok(()) => Ok(Some(migration)),
            Err(reason) => {
                migration.end(Some(&reason));
                Err(reason)
            }
        }
    }

    fn open(&mut self, patient: &Patient) -> Result<(), String> {
        let (settings, announced) = (&self.daemon.settings, &patient.announced);
        let peers = peers_to_capture(self.daemon, self.domid, announced)?;
        let mut resident = Vec::new();
        let keys = if peers.is_empty() {
            Vec::new()
        } else {
            let (capture, begun) = Capture::open(
                self.domid,
                peers,
                &self.daemon.images,
                settings.limits,
                settings.open_patience,
            )
            .map_err(|e| e.to_string())?;
            resident = begun.iter().map(|b| b.bytes).collect();
            let capture = self.capture.insert(capture);
            let answers = doctor::answers(capture, &begun);
            doctor::refuse(self.domid, &patient.answered(&answers))?;
            capture.keys()
        };
        let sessions = keys.iter().map(|key| key.session);
        let sessions = sessions.zip(resident.iter().copied());
        let costs = self.daemon.experience.expect(sessions, self.devices > 0);
        self.rounds = Rounds::new(settings.precopy, costs, resident.iter().sum());
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
        let records = Records::start(stream, id, &keys).map_err(|e| e.to_string())?;
        for key in &self.stored {
            let image = self.daemon.images.take(self.domid, *key);
            let image = image.ok_or_else(|| format!("image {key} has gone"))?;
            let written = image.batches(MAX_PAYLOAD, MAX_EXTENTS, |batch| {
                let sent = records.send(key, 0, batch);
                sent.map(drop).map_err(|e| Unwritten(e.to_string()))
            });
            self.daemon.images.put_back(self.domid, *key, image, false);
            written.map_err(|e: Unwritten| e.0)?;
        }
        self.records = Some(records);
        Ok(())
    }

    /// The plugin has pre-copied RAM a bit further.
    pub fn ram(&mut self, figures: RamFigures) {
        let ram = self.report.ram.get_or_insert_default();
        ram_report::learn(ram, self.domid, figures);
    }

    /// What has not been carried so far.
    fn note_travelled(&mut self, written: Written) {
        let Elided { zero, copies } = written.elided;
        self.report.gpu_bytes.zero = zero;
        self.report.gpu_bytes.copies = copies;
    }

    /// Puts everything back after a failed step.
    fn fail(&mut self, reason: String) -> String {
        // Whatever failed then did so because of that.
        let reason = self.under_way.check().err().unwrap_or(reason);
        log::error!("domain {}: {reason}", self.domid);
        if let Some(capture) = self.capture.take() {
            capture.undo(&self.daemon.images);
        }
        self.report.error = Some(reason.clone());
        reason
    }

    /// From here on the domain is free for whoever resumes it.
    fn hand_over(&mut self) {
        if let Some(claim) = self.claim.take() {
            serve::when_resumed(self.daemon, self.domid, &self.detached, &claim);
            passthrough::when_resumed(self.daemon, self.domid);
        }
    }

    /// The save is over; `failed` says why where it was for nothing.
    pub fn end(mut self, failed: Option<&str>) {
        if let Some(capture) = self.capture.take() {
            capture.undo(&self.daemon.images);
        }
        self.report.total_s = Some(self.started.elapsed().as_secs_f64());
        self.report.handover.gone();
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
    pub(super) fn into_rehearsal(mut self) -> (Report, Claim) {
        let claim = self.claim.take().expect("held until it is handed over");
        (self.report.clone(), claim)
    }
}

/// Images of sessions that are detached already; that they are here has been seen.
fn stored(announced: &[Announcement]) -> Vec<SessionKey> {
    let detached = announced.iter().filter(|a| a.state == Residence::Detached);
    detached
        .map(|a| SessionKey {
            session: a.session,
            generation: a.generation,
        })
        .collect()
}

/// Why an image could not be written into a stream.
struct Unwritten(String);

impl From<spool::SpoolError> for Unwritten {
    fn from(e: spool::SpoolError) -> Self {
        Unwritten(e.to_string())
    }
}
