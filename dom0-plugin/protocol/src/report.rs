//! What a migration cost, as one end saw it: `xl-gpu report`.
//!
//! The source knows the phases up to the suspend, the destination what came and how long the programs waited.

use crate::blackout::Blackout;
use crate::ram::RamFigures;
use channel::image::SessionKey;
use channel::link::LeftToDriver;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which end wrote a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// `xl migrate` or `xl save` here.
    #[default]
    Source,
    /// The domain came here.
    Destination,
    /// Both, within this machine: `xl-gpu migrate-loopback`.
    Rehearsal,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Bytes of buffers by phase, and those that were not carried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuBytes {
    /// Each pre-copy round's, in order.
    pub precopy: Vec<u64>,
    /// The stop-and-copy's.
    pub stop: u64,
    /// Of all these, bytes that travelled as references to equal ones.
    #[serde(default)]
    pub copies: u64,
    /// Beside all these, bytes that travelled as zeros.
    #[serde(default)]
    pub zero: u64,
}

/// A pre-copy round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RoundReport {
    /// When it began, in seconds since the migration did.
    pub start_s: f64,
    /// How long it took.
    pub took_s: f64,
    /// Bytes of buffers sent.
    pub bytes: u64,
    /// Bytes that may have changed again.
    pub dirty_bytes: u64,
}

/// Parts of the blackout that was predicted when pre-copy ended, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// What was left to copy, memory's part included.
    pub copy_s: f64,
    /// Until the queues are idle.
    pub drain_s: f64,
    /// Seal, record, unload, unmap.
    pub unload_s: f64,
    /// PCI devices.
    pub detach_s: f64,
    /// VCPUs paused.
    pub paused_s: f64,
    /// From running VCPUs to the open gate.
    pub arrive_s: f64,
}

/// The rounds, why they ended, and what was expected then.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Precopy {
    /// In order.
    pub rounds: Vec<RoundReport>,
    /// Why there were no more.
    pub ended: Option<PrecopyEnd>,
    /// The blackout that was aimed at, in seconds.
    pub budget_s: f64,
    /// The one predicted after the last round, in parts.
    pub predicted: Predicted,
}

/// Why pre-copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrecopyEnd {
    /// The predicted blackout is within the budget.
    Budget,
    /// The fixed costs alone exceed the budget, and what is left to copy adds little to them.
    FixedCosts,
    /// Rounds no longer shorten the predicted blackout.
    NoHelp,
    /// The limit of rounds.
    Rounds,
    /// The limit of time.
    Time,
    /// The limit of bytes.
    Bytes,
    /// The operator wanted it.
    Forced,
}

/// A session in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReport {
    /// Session and generation.
    #[serde(flatten)]
    pub key: SessionKey,
    /// Program name, where known.
    #[serde(default)]
    pub program: String,
    /// Process id in the guest, where known.
    #[serde(default)]
    pub pid: u32,
    /// Bytes of its image.
    #[serde(default)]
    pub bytes: u64,
    /// What its driver's own checkpoint had to carry besides.
    #[serde(default)]
    pub left_to_driver: LeftToDriver,
}

/// One migration as one end saw it. Times in seconds; those that this end does not know are absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What tells it from others: microseconds from 1970 to when it began.
    #[serde(default)]
    pub id: u64,
    /// Which end.
    pub role: Role,
    /// The domain, on this host.
    pub domid: u32,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its UUID, where it has one.
    #[serde(default)]
    pub uuid: Option<String>,
    /// Whether it went through, as far as this end knows; absent while it is under way.
    pub ok: Option<bool>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The checks before it found an error: nothing was stopped.
    #[serde(default)]
    pub refused: bool,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// The sessions.
    pub sessions: Vec<SessionReport>,
    /// What was sent or received.
    pub gpu_bytes: GpuBytes,
    /// Pre-copy, where there was one.
    pub precopy: Option<Precopy>,
    /// The blackout that was predicted when pre-copy ended.
    pub predicted_blackout_s: Option<f64>,
    /// Why buffers travelled whole instead of being compared on the GPU, and how many bytes there were of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncompared: Option<String>,
    /// How often the programs were stopped until all were at rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stops: Option<usize>,
    /// Bytes that were compared in the stop.
    pub compared_bytes: Option<u64>,
    /// Of the stop, the time in which there was nothing to do but wait for comparisons.
    pub compare_s: Option<f64>,
    /// Longest time that a program's GPU calls were blocked, and what it consisted of.
    #[serde(flatten)]
    pub blackout: Blackout,
    /// Of it, the time the VCPUs were paused.
    pub vm_downtime_s: Option<f64>,
    /// When the programs' GPU calls began to wait, in seconds since the migration began.
    #[serde(default)]
    pub stop_start_s: Option<f64>,
    /// The whole stop, detaching included.
    pub stop_s: Option<f64>,
    /// PCI devices that were detached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Memory, where PCI devices were detached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ram: Option<RamReport>,
    /// Serving the images, until all contents had arrived: the programs run for most of it.
    pub restore_s: Option<f64>,
    /// From the first word to the last at this end.
    pub total_s: Option<f64>,
}

impl Report {
    /// An empty report of a migration that begins now.
    pub fn new(role: Role, domid: u32) -> Self {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Report {
            id: u64::try_from(now.as_micros()).unwrap_or(u64::MAX),
            role,
            domid,
            started: now.as_secs(),
            ..Report::default()
        }
    }
}

/// Part of a source's report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RamReport {
    /// The plugin's figures.
    #[serde(flatten)]
    pub figures: RamFigures,
    /// When each pass began, in seconds since the migration did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pass_starts_s: Vec<f64>,
    /// From the first device's detaching to the suspended guest: what the copy of its memory adds to the GPU's absence.
    pub detach_to_suspend_s: Option<f64>,
}
