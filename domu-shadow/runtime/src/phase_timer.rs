//! What the parts of a step of the blackout take, for the log.

use std::fmt::Write;
use std::time::Instant;

/// Says at the end, at level debug, what each part took.
pub struct PhaseTimer {
    what: &'static str,
    since: Instant,
    parts: String,
}

impl PhaseTimer {
    pub fn new(what: &'static str) -> PhaseTimer {
        PhaseTimer {
            what,
            since: Instant::now(),
            parts: String::new(),
        }
    }

    /// `part` has ended.
    pub fn lap(&mut self, part: &str) {
        let took = self.since.elapsed();
        let _ = write!(self.parts, ", {part} {:.1}", took.as_secs_f64() * 1e3);
        self.since = Instant::now();
    }
}

impl Drop for PhaseTimer {
    fn drop(&mut self) {
        log::debug!("{} (ms){}", self.what, self.parts);
    }
}
