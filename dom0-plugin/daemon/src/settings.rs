//! Limits and time-outs of the daemon.

use super::passthrough::policy::Policy;
use super::rounds::Bounds;
use crate::config::Config;
use channel::host::StepLimits;
use protocol::ram::RamLimits;
use std::time::Duration;

/// What the daemon grants guests, and how long it waits for them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bounds of what a session may send.
    pub limits: StepLimits,
    /// How long a session may take to share its pages, and to say that it is detached.
    pub open_patience: Duration,
    /// How long a program's queues may take to become idle at a stop.
    pub drain_timeout: Duration,
    /// How long sessions that are being attached are waited for before something else begins.
    pub busy_patience: Duration,
    /// When pre-copy has to end.
    pub precopy: Bounds,
    /// What is done with PCI devices.
    pub passthrough: Policy,
    /// How RAM is pre-copied while they are assigned, if at all.
    pub ram: Option<RamLimits>,
    /// Whether a save without the plugin is ended.
    pub ends_bare_saves: bool,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Settings {
            limits: StepLimits {
                // A round may send everything the guest may keep, and then some that was written meanwhile.
                round_bytes: config.spool_guest_quota.saturating_mul(2),
                batch: channel::image::BatchLimits {
                    max_object_bytes: config.max_object,
                    ..channel::image::BatchLimits::default()
                },
            },
            open_patience: config.timeout_open,
            drain_timeout: config.timeout_drain,
            busy_patience: config.timeout_busy,
            precopy: Bounds {
                budget: config.blackout_budget,
                rounds: config.precopy_rounds,
                time: config.precopy_time,
                bytes: config.precopy_bytes,
            },
            passthrough: Policy::from(config),
            ends_bare_saves: config.end_saves_without_plugin,
            ram: config.ram_precopy.then_some(RamLimits {
                threads: config.ram_threads,
                passes: config.ram_passes,
                enough: config.ram_stop_below,
            }),
        }
    }
}
