//! What a migration cost, as one end saw it: `xl-gpu report`.
//!
//! The source knows the phases up to the suspend, the destination what came and how long the programs waited.

use crate::ram::RamFigures;
use channel::image::SessionKey;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, Instant};

/// Which end wrote a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// `xl migrate` or `xl save` here.
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
}

/// One migration as one end saw it. Times in seconds; those that this end does not know are absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which end.
    pub role: Role,
    /// The domain, on this host.
    pub domid: u32,
    /// Whether it went through, as far as this end knows; absent while it is under way.
    pub ok: Option<bool>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// The sessions.
    pub sessions: Vec<SessionReport>,
    /// What was sent or received.
    pub gpu_bytes: GpuBytes,
    /// Pre-copy, where there was one.
    #[serde(default)]
    pub precopy: Option<Precopy>,
    /// The blackout that was predicted when pre-copy ended.
    #[serde(default)]
    pub predicted_blackout_s: Option<f64>,
    /// Why buffers travelled whole instead of being compared on the GPU, and how many bytes there were of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncompared: Option<String>,
    /// Bytes that were compared in the stop.
    #[serde(default)]
    pub compared_bytes: Option<u64>,
    /// Of the stop, the time in which there was nothing to do but wait for comparisons.
    #[serde(default)]
    pub compare_s: Option<f64>,
    /// Longest time that a program's GPU calls were blocked.
    pub gpu_blackout_s: Option<f64>,
    /// Of it, the time the VCPUs were paused.
    pub vm_downtime_s: Option<f64>,
    /// From the closed gate to idle queues.
    pub drain_s: Option<f64>,
    /// The last chunks.
    #[serde(default)]
    pub copy_s: Option<f64>,
    /// Sealing the stream and putting images on record.
    #[serde(default)]
    pub seal_s: Option<f64>,
    /// Releasing objects and unloading the driver.
    pub unload_s: Option<f64>,
    /// Unmapping pages, and the guest's ending its side.
    #[serde(default)]
    pub close_s: Option<f64>,
    /// The whole stop, detaching included.
    pub stop_s: Option<f64>,
    /// PCI devices that were detached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Detaching them.
    #[serde(default)]
    pub detach_s: Option<f64>,
    /// Until the guest had its PCI devices again, once it ran.
    #[serde(default)]
    pub attach_s: Option<f64>,
    /// Opening the sessions again.
    #[serde(default)]
    pub connect_s: Option<f64>,
    /// Memory, where PCI devices were detached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ram: Option<RamReport>,
    /// What the toolstack took in between.
    #[serde(flatten)]
    pub handover: HandoverTiming,
    /// Loading the driver and making objects again.
    pub reload_s: Option<f64>,
    /// Serving the images, until all contents had arrived: the programs run for most of it.
    pub restore_s: Option<f64>,
    /// From the first word to the last at this end.
    pub total_s: Option<f64>,
}

impl Report {
    /// An empty report of a migration that begins now.
    pub fn new(role: Role, domid: u32) -> Self {
        let started = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        Report {
            role,
            domid,
            ok: None,
            error: None,
            started,
            sessions: Vec::new(),
            gpu_bytes: GpuBytes::default(),
            precopy: None,
            predicted_blackout_s: None,
            uncompared: None,
            compared_bytes: None,
            compare_s: None,
            gpu_blackout_s: None,
            vm_downtime_s: None,
            drain_s: None,
            copy_s: None,
            seal_s: None,
            unload_s: None,
            close_s: None,
            stop_s: None,
            devices: Vec::new(),
            detach_s: None,
            attach_s: None,
            connect_s: None,
            ram: None,
            handover: HandoverTiming::default(),
            reload_s: None,
            restore_s: None,
            total_s: None,
        }
    }
}

/// Part of a source's report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RamReport {
    /// The plugin's figures.
    #[serde(flatten)]
    pub figures: RamFigures,
    /// From the first device's detaching to the suspended guest: what the copy of its memory adds to the GPU's absence.
    #[serde(default)]
    pub detach_to_suspend_s: Option<f64>,
}

/// What the toolstack takes between the moment the programs' GPU state has left them and the first of them being opened
/// again.
///
/// Part of a report: the first three are known to the source, the last one to the destination. In seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HandoverTiming {
    /// Memory that is compared and copied while the domain runs without its GPU: nothing, unless PCI devices had to be
    /// detached before.
    pub memory_s: Option<f64>,
    /// Suspending the domain.
    pub suspend_s: Option<f64>,
    /// The rest of its memory, until the toolstack was done with it here.
    pub transfer_s: Option<f64>,
    /// From the whole stream to the first program that is opened again: the toolstack builds and starts the domain.
    pub resume_s: Option<f64>,
    /// When the part that is under way began.
    #[serde(skip)]
    since: Option<Instant>,
}

impl HandoverTiming {
    fn lap(&mut self) -> Option<Duration> {
        let now = Instant::now();
        self.since.replace(now).map(|since| now - since)
    }

    /// No GPU state and no device is left in the domain.
    pub fn left(&mut self) {
        self.lap();
    }

    /// It is suspended, and that took `took`.
    pub fn suspended(&mut self, took: Duration) {
        let both = self.lap();
        self.suspend_s = Some(took.as_secs_f64());
        self.memory_s = both.map(|both| both.saturating_sub(took).as_secs_f64());
    }

    /// It is gone.
    pub fn gone(&mut self) {
        // Not suspended: it did not go.
        if self.suspend_s.is_some() {
            self.transfer_s = self.lap().map(|took| took.as_secs_f64());
        }
    }

    /// All of it has come.
    pub fn arrived(&mut self) {
        self.lap();
    }

    /// A program of it has been opened; the first one counts.
    pub fn resumed(&mut self) {
        if self.suspend_s.is_none() && self.resume_s.is_none() {
            self.resume_s = self.lap().map(|took| took.as_secs_f64());
        }
    }
}
