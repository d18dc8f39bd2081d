//! How much of the device's time comparing takes.

use std::time::{Duration, Instant};

/// How a pass runs.
#[derive(Clone, Copy, Debug)]
pub struct PassOptions {
    /// Largest share of the pass' time in which comparing may use the device's memory bandwidth, above 0 up to 1:
    /// where little changes, comparing is all that a pass does. At 1 the next segment is compared ahead.
    pub duty: f64,
    /// Whether the pass may go on. Once it may not, it ends soon, and all its candidates count as never sent.
    pub go_on: fn() -> bool,
}

impl PassOptions {
    /// With no reason to end early.
    pub fn with_duty(duty: f64) -> PassOptions {
        PassOptions {
            duty,
            ..PassOptions::default()
        }
    }
}

impl Default for PassOptions {
    fn default() -> Self {
        PassOptions {
            duty: 1.0,
            go_on: || true,
        }
    }
}

/// Keeps comparing within its share of a pass' time.
pub(super) struct Throttle {
    pub(super) begun: Instant,
    compared: Duration,
    duty: f64,
}

impl Throttle {
    pub(super) fn new(options: PassOptions) -> Throttle {
        Throttle {
            begun: Instant::now(),
            compared: Duration::ZERO,
            duty: options.duty.clamp(0.001, 1.0),
        }
    }

    /// A comparison that began then has just ended.
    pub(super) fn add(&mut self, begun: Instant) {
        self.compared += begun.elapsed();
    }

    /// When the next may begin.
    pub(super) fn next(&self) -> Instant {
        self.begun + self.compared.div_f64(self.duty)
    }
}
