//! What has to be so before anything is detached or suspended.

use super::aborted::Aborted;
use super::error::MigrationError;
use super::outgoing::Outgoing;
use super::precopying::PreCopying;
use crate::capture::Capture;
use crate::capture_sink::Records;
use crate::carrier::image_of;
use crate::daemon::Daemon;
use crate::doctor::checks;
use crate::doctor::patient::{Answer, Asked, Patient};
use crate::domain_lock::DomainLock;
use crate::notice::Notice;
use crate::passthrough::chip::Chip;
use crate::peers::peers_to_capture;
use crate::rounds::Rounds;
use channel::guest::Begun;
use channel::image::{SessionId, SessionKey};
use channel::link::{Announcement, Residence};
use protocol::report::{Role, SessionReport};
use protocol::status::PublishedState;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use stream::StreamEnd;
use stream::{ImageId, MAX_EXTENTS, MAX_PAYLOAD};

/// All sessions are open, and nothing is in the stream.
pub struct PreFlight<'d> {
    pub(super) out: Outgoing<'d>,
    lock: DomainLock,
    capture: Capture,
    /// Sessions that were detached before: their images travel as they are.
    stored: Vec<SessionKey>,
    stream: StreamEnd,
    rounds: Rounds,
    /// Bytes of buffers, of each session captured.
    resident: Vec<u64>,
}

impl<'d> PreFlight<'d> {
    /// Looks at the domain and opens all its sessions, or only `only`; `None` where it has none.
    pub fn begin(
        daemon: &'d Arc<Daemon>,
        domid: u32,
        only: Option<SessionId>,
        role: Role,
        stream: OwnedFd,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<Option<Self>, MigrationError> {
        let lock = daemon.alone(domid, "a migration", cancelled)?;
        let asked = match role {
            Role::Rehearsal => Asked::Rehearsal,
            _ => Asked::Preflight,
        };
        let patient = daemon.patient(domid, only, asked)?;
        if patient.announced.is_empty() && patient.nonsense.is_empty() {
            return Ok(None);
        }
        let report = daemon.report(role, domid);
        if let Err(refused) = checks::refuse(domid, &checks::seen(&patient)) {
            daemon.reports.refused(report, &refused);
            return Err(refused.into());
        }
        let stream = StreamEnd::new(stream, cancelled.clone()).map_err(MigrationError::Stream)?;
        let devices = daemon.devices.assigned(domid)?.len();
        let budget = daemon.settings.precopy.budget;
        let out = Outgoing {
            daemon,
            domid,
            cancelled: cancelled.clone(),
            under_way: daemon.moving.begin(domid, budget, cancelled.clone()),
            devices,
            report,
            started: Instant::now(),
        };
        daemon.publisher.tell(domid, PublishedState::Migrating);
        PreFlight::open(out, lock, &patient, stream)
            .map(Some)
            .map_err(Aborted::end)
    }

    fn open(
        mut out: Outgoing<'d>,
        lock: DomainLock,
        patient: &Patient,
        stream: StreamEnd,
    ) -> Result<Self, Box<Aborted<'d>>> {
        let announced = &patient.announced;
        let (capture, begun) = match open_all(out.daemon, patient) {
            Ok(opened) => opened,
            Err(e) => return Err(Aborted::detached(out, lock, Vec::new(), None, e)),
        };
        let answers = Answer::of_all(&capture, &begun);
        if let Err(e) = checks::refuse(out.domid, &checks::answered(patient, &answers)) {
            out.report.refused = true;
            return Err(Aborted::undo(out, lock, capture, e));
        }
        let stored: Vec<SessionKey> = announced
            .iter()
            .filter(|a| a.state == Residence::Detached)
            .map(image_of)
            .collect();
        let resident: Vec<u64> = begun.iter().map(|b| b.bytes).collect();
        let keys = capture.keys();
        out.report.sessions = keys
            .iter()
            .chain(&stored)
            .map(|key| session_report(*key, announced))
            .collect();
        let (costs, image) = out.expect(&capture, &resident);
        let mut rounds = Rounds::new(
            out.daemon.settings.precopy,
            costs,
            resident.iter().fold(0, |sum, b| b.saturating_add(sum)),
        );
        rounds.expect(costs, image);
        Ok(PreFlight {
            rounds,
            resident,
            out,
            lock,
            capture,
            stored,
            stream,
        })
    }

    /// Writes HEAD, and what was in the spool before.
    pub fn head(self) -> Result<PreCopying<'d>, Box<Aborted<'d>>> {
        let (out, stored) = (&self.out, &self.stored);
        let checked = out.under_way.check().map_err(MigrationError::from);
        match checked.and_then(|()| write_head(out, stored, self.stream)) {
            Ok(records) => Ok(PreCopying {
                out: self.out,
                lock: self.lock,
                capture: self.capture,
                stored: self.stored,
                records,
                rounds: self.rounds,
                resident: self.resident,
                round_began: Duration::ZERO,
            }),
            Err(e) => Err(Aborted::undo(self.out, self.lock, self.capture, e)),
        }
    }

    /// Gives it up.
    pub fn abort(self, error: MigrationError) -> Box<Aborted<'d>> {
        Aborted::undo(self.out, self.lock, self.capture, error)
    }
}

fn open_all(daemon: &Daemon, patient: &Patient) -> Result<(Capture, Vec<Begun>), MigrationError> {
    let (domid, settings) = (patient.domid, &daemon.settings);
    let peers = peers_to_capture(&*daemon.carrier, domid, &patient.announced)?;
    let (images, patience) = (&*daemon.images, settings.open_patience);
    Ok(Capture::open(
        domid,
        peers,
        images,
        settings.limits,
        patience,
    )?)
}

fn session_report(key: SessionKey, announced: &[Announcement]) -> SessionReport {
    let a = announced.iter().find(|a| a.session == key.session);
    SessionReport {
        key,
        program: a.map(|a| a.program.clone()).unwrap_or_default(),
        pid: a.map_or(0, |a| a.pid),
        bytes: 0,
        left_to_driver: a.map(|a| a.left).unwrap_or_default(),
    }
}

/// What the receiver has to know: nothing where the programs' GPUs stay here, or have none that dom0 sees.
fn notice(out: &Outgoing<'_>) -> Result<Option<Notice>, MigrationError> {
    if !out.leaves() {
        return Ok(None);
    }
    let devices = &out.daemon.devices;
    let gpus = devices.chips(&devices.assigned(out.domid)?);
    let mut chips = gpus.clone();
    let mut sessions = out.report.sessions.iter();
    match sessions.any(|s| s.left_to_driver.contexts > 0) {
        true => chips.retain(Chip::has_cuda),
        false => chips.clear(),
    }
    if !chips.is_empty() {
        let names: Vec<String> = chips.iter().map(ToString::to_string).collect();
        log::info!(
            "domain {}: its programs go on on the same chip only: {}",
            out.domid,
            names.join(", ")
        );
    }
    Ok((!gpus.is_empty()).then_some(Notice { chips, gpus }))
}

fn write_head(
    out: &Outgoing<'_>,
    stored: &[SessionKey],
    stream: StreamEnd,
) -> Result<Records, MigrationError> {
    let keys: Vec<SessionKey> = out.report.sessions.iter().map(|s| s.key).collect();
    let id = ImageId::random().map_err(MigrationError::Random)?;
    let records = Records::start(stream, id, &keys)?;
    if let (Some(notice), Some(first)) = (notice(out)?, keys.first()) {
        notice.send(&records, first)?;
    }
    let images = &out.daemon.images;
    for key in stored {
        let image = images
            .take(out.domid, *key)
            .ok_or(MigrationError::ImageGone(*key))?;
        let written: Result<(), MigrationError> =
            image.batches(MAX_PAYLOAD, MAX_EXTENTS, |batch| {
                records.send(key, 0, batch).map(drop).map_err(Into::into)
            });
        images.put_back(out.domid, *key, image, false);
        written?;
    }
    Ok(records)
}
