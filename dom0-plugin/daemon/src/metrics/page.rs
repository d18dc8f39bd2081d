//! What Prometheus is told: what the daemon has counted, and what there is now.

use crate::tallies::{Labels, Tallies};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use protocol::status::Status;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a page is good for: who asks more often must not make the daemon read XenStore each time.
const FRESH: Duration = Duration::from_secs(1);

/// The last page, for whoever asks soon after.
#[derive(Debug, Default)]
pub struct LastPage(Mutex<Option<(Instant, String)>>);

impl LastPage {
    /// It, or a new one that `make` makes.
    pub fn or_make(&self, make: impl FnOnce() -> Option<String>) -> Option<String> {
        let mut last = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Some((_, page)) = last.as_ref().filter(|(made, _)| made.elapsed() < FRESH) {
            return Some(page.clone());
        }
        let page = make()?;
        *last = Some((Instant::now(), page.clone()));
        Some(page)
    }
}

/// In the text format of OpenMetrics.
pub fn page(status: &Status, tallies: &Tallies) -> String {
    let mut registry = Registry::with_prefix("xl_gpu");
    tallies.register(&mut registry);
    let build = vec![
        ("version", status.version.clone()),
        ("carrier", status.carrier.clone()),
    ];
    registry.register("build", "The daemon", Info::<Labels>::new(build));
    sessions(status, &mut registry);
    images(status, &mut registry);
    let memory = &status.spool_memory;
    let used = "Memory of dom0 that images take";
    registry.register_with_unit("spool_memory_used", used, Unit::Bytes, gauge(memory.used));
    let limit = "Memory of dom0 that images may take";
    registry.register_with_unit(
        "spool_memory_limit",
        limit,
        Unit::Bytes,
        gauge(memory.limit),
    );
    let under_way = status.domains.iter().filter(|d| d.progress.is_some());
    registry.register(
        "migrations_under_way",
        "Migrations that are being sent",
        gauge(under_way.count() as u64),
    );
    let mut text = String::new();
    // Fails only where the text's memory does.
    let _ = encode(&mut text, &registry);
    text
}

fn as_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn gauge(value: u64) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(as_gauge(value));
    gauge
}

fn sessions(status: &Status, registry: &mut Registry) {
    let sessions = Family::<Labels, Gauge>::default();
    for session in status.domains.iter().flat_map(|d| &d.sessions) {
        let state = match session.state.is_empty() {
            true => "unreadable".to_owned(),
            false => session.state.clone(),
        };
        let blocked = session.blocked.is_some().to_string();
        let labels = vec![("state", state), ("blocked", blocked)];
        sessions.get_or_create(&labels).inc();
    }
    registry.register("sessions", "GPU sessions of guests", sessions);
}

fn images(status: &Status, registry: &mut Registry) {
    let [count, bytes, stored] = [(); 3].map(|()| Family::<Labels, Gauge>::default());
    for image in status.domains.iter().flat_map(|d| &d.images) {
        let labels = vec![("purpose", image.purpose.to_string())];
        count.get_or_create(&labels).inc();
        bytes.get_or_create(&labels).inc_by(as_gauge(image.bytes));
        stored.get_or_create(&labels).inc_by(as_gauge(image.stored));
    }
    registry.register("images", "Images in the spool", count);
    registry.register_with_unit("image", "Their contents", Unit::Bytes, bytes);
    let room = "Memory and disk that they take";
    registry.register_with_unit("image_stored", room, Unit::Bytes, stored);
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::history::Migration;
    use protocol::report::{GpuBytes, Report, Role};
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    fn everything() -> String {
        let status: Status = serde_json::from_value(json!({
            "version": "0.1.0 (debug)", "carrier": "xen", "spool_memory": {"used": 10, "limit": 20},
            "domains": [{
                "domid": 5, "name": "web", "state": "idle", "error": "", "busy": null, "progress": null,
                "sessions": [{"session": "ab", "pid": 9, "program": "wave", "state": "attached",
                              "generation": 0, "blocked": "SVM", "problem": null}],
                "images": [{"session": "07".repeat(16), "generation": 2, "purpose": "held", "objects": 1,
                            "bytes": 5, "stored": 3, "serving": false}],
                "report": null}]}))
        .unwrap();
        let tallies = Tallies::default();
        let mut report = Report::new(Role::Source, 5);
        report.ok = Some(false);
        report.total_s = Some(4.0);
        let bytes = GpuBytes {
            precopy: vec![100, 20],
            stop: 3,
            ..GpuBytes::default()
        };
        tallies.migration(&Migration::of(&report).unwrap(), &bytes);
        tallies.blackout(Duration::from_millis(250), Duration::from_millis(40));
        page(&status, &tallies)
    }

    #[test]
    fn figures_have_names_units_and_labels() {
        let page = everything();
        for line in [
            "xl_gpu_build_info{version=\"0.1.0 (debug)\",carrier=\"xen\"} 1",
            "xl_gpu_sessions{state=\"attached\",blocked=\"true\"} 1",
            "xl_gpu_images{purpose=\"held\"} 1",
            "xl_gpu_image_bytes{purpose=\"held\"} 5",
            "xl_gpu_image_stored_bytes{purpose=\"held\"} 3",
            "xl_gpu_spool_memory_used_bytes 10",
            "xl_gpu_spool_memory_limit_bytes 20",
            "xl_gpu_migrations_under_way 0",
            "xl_gpu_migrations_total{role=\"source\",outcome=\"failed\"} 1",
            "xl_gpu_migrations_total{role=\"destination\",outcome=\"ok\"} 0",
            "xl_gpu_moved_bytes_total{role=\"source\",phase=\"precopy\"} 120",
            "xl_gpu_moved_bytes_total{role=\"source\",phase=\"stop\"} 3",
            "xl_gpu_migration_seconds_count{role=\"source\"} 1",
            "xl_gpu_blackout_seconds_bucket{le=\"0.3\"} 1",
            "xl_gpu_blackout_seconds_bucket{le=\"0.2\"} 0",
            "xl_gpu_vm_downtime_seconds_bucket{le=\"0.05\"} 1",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }

    #[test]
    fn who_asks_often_gets_the_same_page() {
        let last = LastPage::default();
        assert_eq!(last.or_make(|| None), None);
        // Between two calls there may be any time.
        let again = (0..1000).any(|_| {
            let _ = last.or_make(|| Some("first".into()));
            last.or_make(|| Some("second".into())).as_deref() == Some("first")
        });
        assert!(again);
    }

    fn names(page: &str) -> BTreeSet<&str> {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        samples
            .filter_map(|line| line.split(['{', ' ']).next())
            .collect()
    }

    /// Names of metrics in text of another kind.
    fn mentioned(text: &str) -> BTreeSet<&str> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("xl_gpu_"))
            .collect()
    }

    #[test]
    fn the_dashboard_asks_for_what_there_is() {
        let dashboard = include_str!("../../../../scripts/files/grafana-dashboard.json");
        let parsed: Value = serde_json::from_str(dashboard).unwrap();
        let panels = parsed["panels"].as_array().unwrap();
        let page = everything();
        let names = names(&page);
        let mut asked = BTreeSet::new();
        for target in panels
            .iter()
            .filter_map(|p| p["targets"].as_array())
            .flatten()
        {
            for name in mentioned(target["expr"].as_str().unwrap()) {
                assert!(names.contains(name), "{name} in {target}");
                asked.insert(name.to_owned());
            }
        }
        assert!(asked.len() > 8, "{asked:?}");
    }

    #[test]
    fn the_documentation_names_what_there_is() {
        let document = include_str!("../../../../docs/administration.md");
        let page = everything();
        let families: BTreeSet<String> = names(&page)
            .into_iter()
            .map(|name| {
                let parts = ["_bucket", "_count", "_sum"];
                let part = parts.iter().find_map(|part| name.strip_suffix(part));
                part.unwrap_or(name).to_owned()
            })
            .collect();
        let documented: BTreeSet<String> =
            mentioned(document).into_iter().map(str::to_owned).collect();
        assert_eq!(documented, families);
    }
}
