//! The clock of a blackout: each lap is one part of it, and ends where the next one begins.

use protocol::blackout::{Blackout, Part};
use std::time::{Duration, Instant};

/// Runs from the moment it is made.
#[derive(Debug, Clone)]
pub struct Laps {
    since: Instant,
    parts: Vec<(Part, Duration)>,
}

impl Laps {
    /// The first lap begins now.
    pub fn start() -> Self {
        Laps {
            since: Instant::now(),
            parts: Vec::new(),
        }
    }

    /// What has passed since the last lap ended was `part`.
    pub fn end(&mut self, part: Part) {
        self.split(part, Duration::ZERO, part);
    }

    /// The same, but `figure` of it, as another clock has it, was `inner`: at most all of it.
    pub fn split(&mut self, inner: Part, figure: Duration, part: Part) {
        let now = Instant::now();
        let lap = now - std::mem::replace(&mut self.since, now);
        let figure = figure.min(lap);
        self.parts.push((inner, figure));
        self.parts.push((part, lap - figure));
    }

    /// All laps so far.
    pub fn so_far(&self) -> Blackout {
        Blackout::so_far(self.parts.iter().copied())
    }

    /// All laps, of a blackout that was `whole` to the program.
    pub fn of(&self, whole: Duration) -> Blackout {
        Blackout::of(whole, self.parts.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_are_all_the_time_there_was() {
        let begun = Instant::now();
        let mut laps = Laps::start();
        for figure in [Duration::ZERO, Duration::from_secs(3600)] {
            laps.end(Part::Seal);
            laps.split(Part::Drain, figure, Part::Copy);
        }
        assert!(laps.so_far().known() <= begun.elapsed());
        // The guest's figure was longer than the lap it is of: the lap is all its.
        assert!(laps.so_far().get(Part::Drain).unwrap() < Duration::from_secs(3600));
    }
}
