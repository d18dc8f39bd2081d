//! The checks, in the order of their findings.

use super::patient::{Answer, Patient};
use super::{answers, devices, host, sessions, spool};
use protocol::diagnosis::{Finding, Severity};

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

const ANSWERED: [AnswerCheck; 5] = [
    answers::silent,
    answers::few_pages,
    answers::left_to_driver,
    answers::held_by_others,
    spool::room,
];

/// What can be seen from here.
pub fn seen(patient: &Patient) -> Vec<Finding> {
    SEEN.iter().flat_map(|check| check(patient)).collect()
}

/// What the sessions' answers tell.
pub fn answered(patient: &Patient, answers: &[Answer]) -> Vec<Finding> {
    let checks = ANSWERED.iter();
    checks.flat_map(|check| check(patient, answers)).collect()
}

/// A migration is refused.
#[derive(Debug, thiserror::Error)]
#[error("{first}{}", others(*.more, *.domid))]
pub struct Refused {
    pub domid: u32,
    pub first: Box<Finding>,
    pub more: usize,
}

fn others(more: usize, domid: u32) -> String {
    match more {
        0 => String::new(),
        more => format!(" (and {more} more: xl-gpu doctor {domid})"),
    }
}

/// The first error, if there is one, as a reason to refuse; the rest goes to the log.
pub fn refuse(domid: u32, findings: &[Finding]) -> Result<(), Refused> {
    let mut errors = Vec::new();
    for finding in findings {
        match finding.severity {
            Severity::Error => errors.push(finding),
            Severity::Warning => log::warn!("domain {domid}: {finding}"),
            Severity::Note => log::debug!("domain {domid}: {finding}"),
        }
    }
    let Some((first, more)) = errors.split_first() else {
        return Ok(());
    };
    more.iter().for_each(|f| log::error!("domain {domid}: {f}"));
    Err(Refused {
        domid,
        first: Box::new((*first).clone()),
        more: more.len(),
    })
}
