//! What the last migration of each domain cost.
//!
//! The source knows the phases up to the suspend, the destination what came and how long the programs waited: each
//! writes its half, `xl-gpu report` shows it.

use channel::guest::Opened;
use channel::image::SessionKey;
use protocol::report::Report;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Adds what a session told when its program went on.
fn learn_opened(report: &mut Report, opened: &Opened, connect: Option<Duration>) {
    if let Some(connect) = connect {
        longest(&mut report.connect_s, connect.as_secs_f64());
    }
    longest(&mut report.gpu_blackout_s, nanos(opened.blackout_ns));
    longest(&mut report.vm_downtime_s, nanos(opened.downtime_ns));
    longest(&mut report.reload_s, nanos(opened.reload_ns));
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
            report.handover.resumed();
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
        self.change(domid, key, |report| learn_opened(report, opened, connect))
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
    use protocol::report::{Role, SessionReport};

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
