//! What is counted of migrations, for Prometheus: from the daemon's beginning on.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use protocol::history::{Migration, Outcome};
use protocol::report::{GpuBytes, Role};
use std::time::Duration;

/// Upper bounds of blackouts, in seconds.
const BLACKOUTS: [f64; 11] = [0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0];
/// Upper bounds of a migration's length, in seconds.
const LENGTHS: [f64; 9] = [1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0];

/// Names and values.
pub type Labels = Vec<(&'static str, String)>;

/// Counters and histograms.
#[derive(Debug)]
pub struct Tallies {
    migrations: Family<Labels, Counter>,
    bytes: Family<Labels, Counter>,
    lengths: Family<Labels, Histogram, fn() -> Histogram>,
    blackouts: Histogram,
    downtimes: Histogram,
}

fn ended(role: Role, outcome: Outcome) -> Labels {
    vec![("role", role.to_string()), ("outcome", outcome.to_string())]
}

impl Default for Tallies {
    fn default() -> Self {
        let migrations = Family::<Labels, Counter>::default();
        // A rate can be taken only of what has been there as zero.
        for role in [Role::Source, Role::Destination] {
            for outcome in [Outcome::Ok, Outcome::Failed, Outcome::Refused] {
                drop(migrations.get_or_create(&ended(role, outcome)));
            }
        }
        Tallies {
            migrations,
            bytes: Family::default(),
            lengths: Family::new_with_constructor(|| Histogram::new(LENGTHS)),
            blackouts: Histogram::new(BLACKOUTS),
            downtimes: Histogram::new(BLACKOUTS),
        }
    }
}

impl Tallies {
    /// A migration is over.
    pub fn migration(&self, migration: &Migration, bytes: &GpuBytes) {
        let role = migration.role;
        let count = ended(role, migration.outcome);
        self.migrations.get_or_create(&count).inc();
        let add = |sum: u64, round: &u64| sum.saturating_add(*round);
        let precopy = bytes.precopy.iter().fold(0, add);
        for (phase, count) in [("precopy", precopy), ("stop", bytes.stop)] {
            let moved = vec![("role", role.to_string()), ("phase", phase.to_owned())];
            self.bytes.get_or_create(&moved).inc_by(count);
        }
        if let Some(seconds) = migration.duration_s {
            let of = vec![("role", role.to_string())];
            self.lengths.get_or_create(&of).observe(seconds);
        }
    }

    /// A program goes on: its calls have waited for `whole`; of that, the VCPUs were `paused`.
    pub fn blackout(&self, whole: Duration, paused: Duration) {
        self.blackouts.observe(whole.as_secs_f64());
        self.downtimes.observe(paused.as_secs_f64());
    }

    /// Has `registry` show them.
    pub fn register(&self, registry: &mut Registry) {
        let over = "Migrations that are over";
        registry.register("migrations", over, self.migrations.clone());
        let moved = "Bytes of GPU buffers sent or received";
        registry.register_with_unit("moved", moved, Unit::Bytes, self.bytes.clone());
        let length = "Length of migrations at this end";
        registry.register_with_unit("migration", length, Unit::Seconds, self.lengths.clone());
        let waited = "How long a program's GPU calls were blocked by a move";
        registry.register_with_unit("blackout", waited, Unit::Seconds, self.blackouts.clone());
        let paused = "Of that, how long the VCPUs were paused";
        registry.register_with_unit("vm_downtime", paused, Unit::Seconds, self.downtimes.clone());
    }
}
