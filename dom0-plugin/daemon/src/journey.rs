//! The domain's own way, between the moment its programs' GPU state has left them and the first of them being opened again.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Part of a report: the first three are known to the source, the last one to the destination. In seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Journey {
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

impl Journey {
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
