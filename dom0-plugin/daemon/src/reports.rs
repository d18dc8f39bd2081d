//! What the last migration of each domain cost.
//!
//! The source knows the phases up to the suspend, the destination what came and how long the programs waited: each
//! writes its half, `xl-gpu report` shows it.

use super::history::Histories;
use super::laps::Laps;
use super::tallies::Tallies;
use channel::guest::Opened;
use channel::image::SessionKey;
use protocol::history::Migration;
use protocol::report::Report;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

fn longest(slot: &mut Option<f64>, value: Duration) {
    let value = value.as_secs_f64();
    *slot = Some(slot.map_or(value, |old| old.max(value)));
}

struct Entry {
    report: Report,
    /// The clock of its blackout, where this daemon has seen it begin, or the domain arrive.
    laps: Option<Laps>,
}

/// The last report of each domain, in memory and in a folder; what is kept of earlier ones, and counted of all.
pub struct Reports {
    folder: Option<PathBuf>,
    last: Mutex<BTreeMap<u32, Entry>>,
    histories: Histories,
    tallies: Tallies,
}

impl Reports {
    /// Reports kept in `folder`, those of an earlier daemon included; in memory only where it is `None`.
    /// Migrations that are over go into `histories`.
    pub fn new(folder: Option<PathBuf>, histories: Histories) -> Self {
        let last = folder.as_deref().map(load).unwrap_or_default();
        let entry = |report: Report| (report.domid, Entry { report, laps: None });
        Reports {
            folder,
            last: Mutex::new(last.into_iter().map(entry).collect()),
            histories,
            tallies: Tallies::default(),
        }
    }

    fn last(&self) -> MutexGuard<'_, BTreeMap<u32, Entry>> {
        self.last.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Replaces the domain's report. `laps` run on until its programs do.
    pub fn put(&self, report: Report, laps: Option<Laps>) {
        self.save(&report);
        self.note(&report);
        self.last().insert(report.domid, Entry { report, laps });
    }

    /// The domain was not let go, and nothing was done with it: its last report stays.
    pub fn refused(&self, mut report: Report, reason: &dyn ToString) {
        report.refused = true;
        self.lost(report, reason);
    }

    /// A migration has failed that leaves no report: only that it did is noted.
    pub fn lost(&self, mut report: Report, reason: &dyn ToString) {
        report.ok = Some(false);
        report.error = Some(reason.to_string());
        self.note(&report);
    }

    fn note(&self, report: &Report) {
        if let Some(migration) = Migration::of(report)
            && self.histories.note(migration.clone())
        {
            self.tallies.migration(&migration, &report.gpu_bytes);
        }
    }

    /// The migrations of earlier times.
    pub fn histories(&self) -> &Histories {
        &self.histories
    }

    /// What has been counted since the daemon began.
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// The domain's last report.
    pub fn get(&self, domid: u32) -> Option<Report> {
        self.last().get(&domid).map(|entry| entry.report.clone())
    }

    /// The newest report of a domain of this name or UUID, which need not be here any more.
    pub fn of(&self, domain: &str) -> Option<Report> {
        let last = self.last();
        let of = last.values().map(|entry| &entry.report);
        let of = of.filter(|r| r.name == domain || r.uuid.as_deref() == Some(domain));
        of.max_by_key(|report| report.id).cloned()
    }

    /// The clock of the domain's blackout, if one is running here.
    pub fn laps(&self, domid: u32) -> Option<Laps> {
        self.last().get(&domid)?.laps.clone()
    }

    /// A session's program goes on: the report that names it learns how long it had to wait, and for what, where no other
    /// program had to wait longer. Returns the report then.
    pub fn opened(
        &self,
        domid: u32,
        key: &SessionKey,
        opened: &Opened,
        laps: &Laps,
    ) -> Option<Report> {
        let whole = Duration::from_nanos(opened.blackout_ns);
        self.change(domid, key, |report| {
            if report
                .blackout
                .whole()
                .is_none_or(|longest| longest < whole)
            {
                report.blackout = laps.of(whole);
            }
            let paused = Duration::from_nanos(opened.downtime_ns);
            self.tallies.blackout(whole, paused);
            longest(&mut report.vm_downtime_s, paused);
        })
    }

    /// A session of the domain has all its contents: the report that names it learns how long that took.
    pub fn arrived(&self, domid: u32, key: &SessionKey, took: Duration) {
        self.change(domid, key, |report| longest(&mut report.restore_s, took));
    }

    fn change(
        &self,
        domid: u32,
        key: &SessionKey,
        change: impl FnOnce(&mut Report),
    ) -> Option<Report> {
        let mut last = self.last();
        let report = &mut last.get_mut(&domid)?.report;
        if !report.sessions.iter().any(|s| s.key == *key) {
            return None;
        }
        change(report);
        self.save(report);
        self.note(report);
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

fn load(folder: &Path) -> Vec<Report> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            path.extension().filter(|e| *e == "json")?;
            serde_json::from_slice(&std::fs::read(&path).ok()?)
                .inspect_err(|e| log::warn!("{}: {e}", path.display()))
                .ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use channel::image::SessionId;
    use channel::link::LeftToDriver;
    use protocol::report::{Role, SessionReport};

    #[test]
    fn a_domain_that_has_left_is_known_by_its_name() {
        let reports = Reports::new(None, Histories::default());
        for (domid, id) in [(3, 20), (9, 10)] {
            let mut report = Report::new(Role::Source, domid);
            (report.id, report.name) = (id, "web".into());
            report.uuid = Some("6f2c".into());
            reports.put(report, None);
        }
        for known in ["web", "6f2c"] {
            assert_eq!(reports.of(known).unwrap().domid, 3, "the newest");
        }
        assert_eq!(reports.of("db"), None);
    }

    #[test]
    fn a_report_outlives_the_daemon() {
        let folder = std::env::temp_dir().join(format!("xl-gpu-reports-{}", std::process::id()));
        let key = SessionKey {
            session: SessionId([7; 16]),
            generation: 2,
        };
        let reports = Reports::new(Some(folder.clone()), Histories::default());
        let mut report = Report::new(Role::Destination, 9);
        report.sessions.push(SessionReport {
            key,
            program: "p".into(),
            pid: 4,
            bytes: 100,
            left_to_driver: LeftToDriver::default(),
        });
        reports.put(report, None);
        let opened = Opened {
            blackout_ns: 1_500_000_000,
            downtime_ns: 500_000_000,
            reload_ns: 1,
        };
        reports.opened(9, &key, &opened, &Laps::start());
        reports.arrived(9, &key, Duration::from_secs(1));
        let again = Reports::new(Some(folder.clone()), Histories::default())
            .get(9)
            .unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(again.blackout.whole(), Some(Duration::from_millis(1500)));
        assert_eq!(again.vm_downtime_s, Some(0.5));
        assert_eq!(again.restore_s, Some(1.0));
        assert_eq!(Some(again), reports.get(9));
    }
}
