//! Why a domain could not migrate now: `xl-gpu doctor`, and the pre-flight of each migration.
//!
//! One list of checks, each a function from a domain to findings. The first half goes by what can be seen from here; then
//! the sessions are opened, and the second half goes by what they answer. Nothing is suspended, detached or kept from
//! running for any of it. A finding that is an error refuses the migration.

mod answers;
mod devices;
mod host;
mod patient;
mod sessions;
mod spool;

pub use patient::{Answer, Asked, Patient, who};
pub use sessions::cannot_be_captured;

use super::capture::{Capture, in_parallel};
use super::claim::{EXAMINATION, Patience};
use super::session::OpenSession;
use super::{Daemon, serve};
use channel::guest::Begun;
use channel::image::{SessionId, SessionKey};
use channel::link::{Peer, Residence};
use protocol::diagnosis::{Diagnosis, Finding, Severity};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Goes by what can be seen.
type Check = fn(&Patient) -> Vec<Finding>;
/// Goes by what the sessions answer.
type AnswerCheck = fn(&Patient, &[Answer]) -> Vec<Finding>;

const SEEN: [Check; 9] = [
    sessions::none,
    sessions::nonsense,
    sessions::blocked,
    sessions::protocol,
    sessions::detached,
    devices::devices,
    host::busy,
    host::save_helper,
    host::libxenguest,
];

const ANSWERED: [AnswerCheck; 4] = [
    answers::silent,
    answers::few_pages,
    answers::held_by_others,
    spool::room,
];

impl Patient<'_> {
    /// What can be seen from here.
    pub fn seen(&self) -> Vec<Finding> {
        SEEN.iter().flat_map(|check| check(self)).collect()
    }

    /// What the sessions' answers tell.
    pub fn answered(&self, answers: &[Answer]) -> Vec<Finding> {
        ANSWERED
            .iter()
            .flat_map(|check| check(self, answers))
            .collect()
    }
}

/// The first error, if there is one, as a reason to refuse; the rest goes to the log.
pub fn refuse(domid: u32, findings: &[Finding]) -> Result<(), String> {
    let mut errors = Vec::new();
    for finding in findings {
        match finding.severity {
            Severity::Error => errors.push(finding),
            Severity::Warning => log::warn!("domain {domid}: {finding}"),
            Severity::Note => log::debug!("domain {domid}: {finding}"),
        }
    }
    match &errors[..] {
        [] => Ok(()),
        [only] => Err(only.to_string()),
        [first, more @ ..] => {
            more.iter().for_each(|f| log::error!("domain {domid}: {f}"));
            Err(format!(
                "{first} (and {} more: xl-gpu doctor {domid})",
                more.len()
            ))
        }
    }
}

/// Examines a domain, its sessions' answers included.
pub fn examine(
    daemon: &Arc<Daemon>,
    domain: &str,
    save_helper: Option<String>,
) -> Result<Diagnosis, String> {
    let domains = daemon.carrier.domains();
    let domains = domains.map_err(|e| format!("the domains cannot be read: {e}"))?;
    let number = domain.parse().ok();
    let found = domains
        .into_iter()
        .find(|d| d.name == domain || number == Some(d.domid));
    let found = found.ok_or_else(|| format!("there is no domain `{domain}` here"))?;
    let domid = found.domid;
    let patient = Patient::look(daemon, domid, None, Asked::Doctor { save_helper })?;
    let mut findings = patient.seen();
    if daemon.claims.what(domid).is_none() {
        findings.extend(patient.answered(&probe(&patient)));
        // What came while the domain was held is looked at now.
        serve::look(daemon, domid);
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
fn probe(patient: &Patient) -> Vec<Answer> {
    let (daemon, domid) = (patient.daemon, patient.domid);
    let Ok(_claim) =
        daemon
            .claims
            .alone(domid, EXAMINATION, Patience::NONE, &AtomicBool::new(false))
    else {
        return Vec::new();
    };
    let sound = patient
        .announced
        .iter()
        .filter(|a| a.state == Residence::Attached && cannot_be_captured(a).is_none());
    in_parallel(sound, |a| {
        daemon
            .carrier
            .peer(domid, a.session)
            .map_err(|e| format!("it does not answer: {e}"))
            .and_then(|peer| ask(daemon, domid, a.session, peer))
            .unwrap_or_else(|reason| Answer::none(who(a), reason))
    })
}

fn ask(
    daemon: &Daemon,
    domid: u32,
    session: SessionId,
    peer: Box<dyn Peer>,
) -> Result<Answer, String> {
    let announced = peer.announcement().generation;
    let key = SessionKey {
        session,
        generation: daemon.images.next_generation(domid, session, announced),
    };
    let settings = &daemon.settings;
    let image = daemon.images.new_image(domid);
    let opened = OpenSession::open(peer, key, image, settings.limits, settings.open_patience);
    let begun = opened.and_then(|mut open| {
        let begun = open.begin();
        open.undo();
        Ok(Answer::of(&open, begun?))
    });
    begun.map_err(|e| format!("{}: {}", e.step, e.problem))
}

/// The answers of sessions that a capture has just opened.
pub fn answers(capture: &Capture, begun: &[Begun]) -> Vec<Answer> {
    let opened = capture.opened().zip(begun);
    opened
        .map(|(session, begun)| Answer::of(session, *begun))
        .collect()
}
