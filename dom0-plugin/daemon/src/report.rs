//! What the last migration of each domain cost.
//!
//! The source knows the phases up to the suspend, the destination what came and how long the programs waited: each
//! writes its half, `xl-gpu report` shows it.

use super::journey::Journey;
use super::ram_report::RamReport;
use super::rounds::{End, Prediction};
use channel::guest::Opened;
use channel::image::SessionKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

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

impl From<Prediction> for Predicted {
    fn from(Prediction { copy, costs }: Prediction) -> Self {
        Predicted {
            copy_s: copy.as_secs_f64(),
            drain_s: costs.drain.as_secs_f64(),
            unload_s: costs.unload.as_secs_f64(),
            detach_s: costs.detach.as_secs_f64(),
            paused_s: costs.paused.as_secs_f64(),
            arrive_s: costs.arrive.as_secs_f64(),
        }
    }
}

/// The rounds, why they ended, and what was expected then.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Precopy {
    /// In order.
    pub rounds: Vec<RoundReport>,
    /// Why there were no more.
    pub ended: Option<End>,
    /// The blackout that was aimed at, in seconds.
    pub budget_s: f64,
    /// The one predicted after the last round, in parts.
    pub predicted: Predicted,
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
    /// The domain's own way.
    #[serde(flatten)]
    pub journey: Journey,
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
            journey: Journey::default(),
            reload_s: None,
            restore_s: None,
            total_s: None,
        }
    }

    /// Adds what a session told when its program went on.
    fn opened(&mut self, opened: &Opened, connect: Option<Duration>) {
        if let Some(connect) = connect {
            longest(&mut self.connect_s, connect.as_secs_f64());
        }
        longest(&mut self.gpu_blackout_s, nanos(opened.blackout_ns));
        longest(&mut self.vm_downtime_s, nanos(opened.downtime_ns));
        longest(&mut self.reload_s, nanos(opened.reload_ns));
    }
}

/// Nanoseconds in seconds.
pub fn nanos(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}

fn longest(slot: &mut Option<f64>, value: f64) {
    *slot = Some(slot.map_or(value, |old| old.max(value)));
}

/// The last report of each domain, in memory and in a folder.
#[derive(Debug)]
pub struct Reports {
    folder: Option<PathBuf>,
    last: Mutex<BTreeMap<u32, Report>>,
}

impl Reports {
    /// Reports kept in `folder`, those of an earlier daemon included; in memory only where it is `None`.
    pub fn new(folder: Option<PathBuf>) -> Self {
        let last = folder.as_deref().map(load).unwrap_or_default();
        Reports {
            folder,
            last: Mutex::new(last),
        }
    }

    fn last(&self) -> MutexGuard<'_, BTreeMap<u32, Report>> {
        self.last.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Replaces the domain's report.
    pub fn put(&self, report: Report) {
        self.save(&report);
        self.last().insert(report.domid, report);
    }

    /// The domain's last report.
    pub fn get(&self, domid: u32) -> Option<Report> {
        self.last().get(&domid).cloned()
    }

    /// A program of the domain has been opened again, where the domain has arrived.
    pub fn resumed(&self, domid: u32) {
        if let Some(report) = self.last().get_mut(&domid) {
            report.journey.resumed();
        }
    }

    /// The domain has its PCI devices back: its report learns how long that took.
    pub fn attached(&self, domid: u32, took: Duration) {
        if let Some(report) = self.last().get_mut(&domid) {
            report.attach_s = Some(took.as_secs_f64());
            self.save(report);
        }
    }

    /// A session's program goes on: the report that names it learns how long it had to wait. `connect` is how long it
    /// took to open, where that says something. Returns the report then.
    pub fn opened(
        &self,
        domid: u32,
        key: &SessionKey,
        opened: &Opened,
        connect: Option<Duration>,
    ) -> Option<Report> {
        self.change(domid, key, |report| report.opened(opened, connect))
    }

    /// A session of the domain has all its contents: the report that names it learns how long that took.
    pub fn arrived(&self, domid: u32, key: &SessionKey, took: Duration) {
        self.change(domid, key, |report| {
            longest(&mut report.restore_s, took.as_secs_f64());
        });
    }

    fn change(
        &self,
        domid: u32,
        key: &SessionKey,
        change: impl FnOnce(&mut Report),
    ) -> Option<Report> {
        let mut last = self.last();
        let report = last.get_mut(&domid)?;
        if !report.sessions.iter().any(|s| s.key == *key) {
            return None;
        }
        change(report);
        self.save(report);
        Some(report.clone())
    }

    fn save(&self, report: &Report) {
        let Some(folder) = &self.folder else { return };
        if let Err(e) = write(folder, report) {
            log::warn!("the report of domain {} cannot be kept: {e}", report.domid);
        }
    }
}

fn write(folder: &Path, report: &Report) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let (path, new) = (
        folder.join(format!("{}.json", report.domid)),
        folder.join(format!(".{}.new", report.domid)),
    );
    std::fs::write(&new, serde_json::to_vec_pretty(report)?)?;
    std::fs::rename(new, path)
}

fn load(folder: &Path) -> BTreeMap<u32, Report> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            path.extension().filter(|e| *e == "json")?;
            let report: Report = serde_json::from_slice(&std::fs::read(&path).ok()?)
                .inspect_err(|e| log::warn!("{}: {e}", path.display()))
                .ok()?;
            Some((report.domid, report))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use channel::image::SessionId;

    #[test]
    fn a_report_outlives_the_daemon() {
        let folder = std::env::temp_dir().join(format!("xl-gpu-reports-{}", std::process::id()));
        let key = SessionKey {
            session: SessionId([7; 16]),
            generation: 2,
        };
        let reports = Reports::new(Some(folder.clone()));
        let mut report = Report::new(Role::Destination, 9);
        report.sessions.push(SessionReport {
            key,
            program: "p".into(),
            pid: 4,
            bytes: 100,
        });
        reports.put(report);
        let opened = Opened {
            blackout_ns: 1_500_000_000,
            downtime_ns: 500_000_000,
            reload_ns: 1,
        };
        reports.opened(9, &key, &opened, None);
        reports.arrived(9, &key, Duration::from_secs(1));
        let again = Reports::new(Some(folder.clone())).get(9).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(again.gpu_blackout_s, Some(1.5));
        assert_eq!(again.vm_downtime_s, Some(0.5));
        assert_eq!(again.restore_s, Some(1.0));
        assert_eq!(Some(again), reports.get(9));
    }
}
