//! Migrations that are over, as this host keeps them: `xl-gpu history`.

use crate::report::{Report, Role};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a migration ended, as far as this host knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It went through.
    Ok,
    /// It failed after it had begun; the programs went on.
    Failed,
    /// The checks before it found an error: nothing was stopped.
    Refused,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One migration of one domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Migration {
    /// What tells it from others: microseconds from 1970 to when it began.
    pub id: u64,
    /// The domain's name.
    pub name: String,
    /// Its UUID, where it has one.
    pub uuid: Option<String>,
    /// Which end this host was.
    pub role: Role,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not go through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// How long it took here, in seconds.
    pub duration_s: Option<f64>,
    /// Sessions that moved.
    pub sessions: usize,
    /// Bytes of buffers, rounds and stop together.
    pub gpu_bytes: u64,
    /// How long programs' GPU calls were blocked at the longest, in seconds; known where they went on.
    pub blackout_s: Option<f64>,
    /// Of that, how long the VCPUs were paused.
    pub vm_downtime_s: Option<f64>,
}

impl Migration {
    /// What is kept of a report; `None` while the migration is under way.
    pub fn of(report: &Report) -> Option<Self> {
        let outcome = match (report.ok?, report.refused) {
            (true, _) => Outcome::Ok,
            (false, true) => Outcome::Refused,
            (false, false) => Outcome::Failed,
        };
        let sent = &report.gpu_bytes;
        let add = |sum: u64, bytes: &u64| sum.saturating_add(*bytes);
        Some(Migration {
            id: report.id,
            name: report.name.clone(),
            uuid: report.uuid.clone(),
            role: report.role,
            outcome,
            error: report.error.clone(),
            started: report.started,
            duration_s: report.total_s,
            sessions: report.sessions.len(),
            gpu_bytes: sent.precopy.iter().fold(sent.stop, add),
            blackout_s: report.blackout.whole().map(|whole| whole.as_secs_f64()),
            vm_downtime_s: report.vm_downtime_s,
        })
    }

    /// What the domain is known by over its moves: its UUID, or else its name.
    pub fn domain(&self) -> &str {
        self.uuid.as_deref().unwrap_or(&self.name)
    }
}

/// The last ones, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    pub migrations: Vec<Migration>,
}
