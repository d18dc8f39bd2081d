//! `xl-gpu doctor`: everything is looked at, and every session asked.

use super::checks;
use super::patient::{Answer, Asked, Patient, Unanswered};
use super::sessions::cannot_be_captured;
use crate::carrier::{Unreadable, who};
use crate::daemon::Daemon;
use crate::domain_lock::{EXAMINATION, LockPatience};
use crate::parallel::in_parallel;
use crate::session::OpenSession;
use channel::image::SessionKey;
use channel::link::{Announcement, Residence};
use protocol::diagnosis::{Diagnosis, Severity};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A domain could not be examined.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    #[error("the domains cannot be read: {0}")]
    Domains(#[source] io::Error),
    #[error("there is no domain `{0}` here")]
    NoDomain(String),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// Examines a domain, its sessions' answers included.
pub fn examine(
    daemon: &Arc<Daemon>,
    domain: &str,
    save_helper: Option<String>,
) -> Result<Diagnosis, ExamineError> {
    let domains = daemon.carrier.domains().map_err(ExamineError::Domains)?;
    let number = domain.parse().ok();
    let found = domains
        .into_iter()
        .find(|d| d.name == domain || number == Some(d.domid))
        .ok_or_else(|| ExamineError::NoDomain(domain.to_owned()))?;
    let domid = found.domid;
    let patient = daemon.patient(domid, None, Asked::Doctor { save_helper })?;
    let mut findings = checks::seen(&patient);
    if patient.busy.is_none() {
        findings.extend(checks::answered(&patient, &probe(daemon, &patient)));
        // What came while the domain was held is looked at now.
        daemon.server.look(domid);
    }
    findings.sort_by_key(|f| f.severity);
    Ok(Diagnosis {
        domid,
        name: found.name,
        sessions: patient.announced.len(),
        can_migrate: findings.iter().all(|f| f.severity != Severity::Error),
        findings,
    })
}

/// Opens every session that could be captured, has it begin, and gives the capture up. The programs run all the while.
fn probe(daemon: &Daemon, patient: &Patient) -> Vec<Answer> {
    let never = AtomicBool::new(false);
    let domid = patient.domid;
    let locked = daemon
        .locks
        .alone(domid, EXAMINATION, LockPatience::NONE, &never);
    let Ok(_lock) = locked else {
        return Vec::new();
    };
    let sound = patient
        .announced
        .iter()
        .filter(|a| a.state == Residence::Attached && cannot_be_captured(a).is_none());
    in_parallel(sound, |a| {
        ask(daemon, domid, a).unwrap_or_else(|reason| Answer::none(who(a), reason))
    })
}

fn ask(daemon: &Daemon, domid: u32, a: &Announcement) -> Result<Answer, Unanswered> {
    let peer = daemon.carrier.peer(domid, a.session)?;
    let announced = peer.announcement().generation;
    let key = SessionKey {
        session: a.session,
        generation: daemon.images.next_generation(domid, a.session, announced),
    };
    let settings = &daemon.settings;
    let image = daemon.images.new_image(domid);
    let mut open = OpenSession::open(peer, key, image, settings.limits, settings.open_patience)?;
    let begun = open.begin();
    open.undo();
    Ok(Answer::of(&open, begun?))
}
