//! `xl-gpu doctor` without a domain: whether this host could send and take guests with their GPU state.
//!
//! One list of checks, each a function from what is looked at to findings, as in the daemon's own doctor for a domain.

mod checks;
mod command;
mod looked;

pub use looked::{Daemon, Host};

use protocol::diagnosis::{Finding, Severity};
use serde::{Deserialize, Serialize};

/// What the examination of a host came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDiagnosis {
    /// Nothing that is known would keep guests from being moved.
    pub ready: bool,
    /// What was found, errors first.
    pub findings: Vec<Finding>,
}

/// Examines what was looked at.
pub fn examine(host: &Host) -> HostDiagnosis {
    let mut findings: Vec<Finding> = checks::ALL.iter().flat_map(|check| check(host)).collect();
    findings.sort_by_key(|finding| finding.severity);
    HostDiagnosis {
        ready: findings.iter().all(|f| f.severity != Severity::Error),
        findings,
    }
}

#[cfg(test)]
mod tests;
