//! What a driver's own checkpoint adds to a blackout, by what is left to it.
//!
//! The first figures are NVIDIA's, 580.159 on an H200 (`docs/cuda.md`). How fast it moves device memory differs most between
//! machines, so that is measured: a move shows it.

use channel::link::LeftToDriver;
use std::time::Duration;

const GIB: f64 = (1u64 << 30) as f64;
/// Fewer bytes than this say nothing about the rate: the fixed costs prevail.
const TELLING: u64 = 256 << 20;
/// A measured rate is believed up to this many times the first figure, and down to this part of it: it comes from what a guest tells,
/// and is used for others.
const BELIEVED: f64 = 4.0;

/// One way: off the device, or back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Way {
    /// One context with nothing in it.
    first: Duration,
    /// Each further one.
    further: Duration,
    /// Each GiB of host memory that is pinned meanwhile.
    pinned_gib: Duration,
    /// Device bytes per second, before a move has shown it.
    guess: f64,
    /// As a move has shown it.
    measured: Option<f64>,
}

impl Way {
    /// Off the device.
    pub const CHECKPOINT: Way = Way {
        first: Duration::from_millis(310),
        further: Duration::from_millis(330),
        pinned_gib: Duration::from_millis(14),
        guess: 1.5e9,
        measured: None,
    };
    /// Back.
    pub const RESTORE: Way = Way {
        first: Duration::from_millis(260),
        further: Duration::from_millis(170),
        pinned_gib: Duration::from_millis(40),
        guess: 5e9,
        measured: None,
    };

    /// All of it but the device memory, in seconds.
    fn fixed(&self, left: LeftToDriver) -> f64 {
        let contexts = match left.contexts {
            0 => 0.0,
            n => self.first.as_secs_f64() + (n - 1) as f64 * self.further.as_secs_f64(),
        };
        contexts + left.pinned as f64 / GIB * self.pinned_gib.as_secs_f64()
    }

    fn rate(&self) -> f64 {
        self.measured.unwrap_or(self.guess)
    }

    /// How long it takes with `left`.
    pub fn cost(&self, left: LeftToDriver) -> Duration {
        let seconds = self.fixed(left) + left.bytes as f64 / self.rate();
        // Nothing has so much memory that this would not fit; a guest may say it has.
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// It took `took` with `left`, what is not the driver's taken off.
    pub fn learn(&mut self, left: LeftToDriver, took: Duration) {
        if left.bytes < TELLING {
            return;
        }
        let moving = (took.as_secs_f64() - self.fixed(left)).max(f64::EPSILON);
        let (least, most) = (self.guess / BELIEVED, self.guess * BELIEVED);
        self.measured = Some((left.bytes as f64 / moving).clamp(least, most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(contexts: u64, gib: u64, pinned_gib: u64) -> LeftToDriver {
        LeftToDriver {
            contexts,
            bytes: gib << 30,
            pinned: pinned_gib << 30,
        }
    }

    fn millis(way: Way, left: LeftToDriver) -> u128 {
        way.cost(left).as_millis()
    }

    #[test]
    fn contexts_and_pinned_memory_have_their_price() {
        assert_eq!(millis(Way::CHECKPOINT, left(0, 0, 0)), 0);
        assert_eq!(millis(Way::CHECKPOINT, left(1, 0, 0)), 310);
        assert_eq!(millis(Way::CHECKPOINT, left(2, 0, 10)), 780);
        assert_eq!(millis(Way::RESTORE, left(2, 0, 10)), 830);
    }

    #[test]
    fn a_move_shows_the_rate() {
        let mut way = Way::CHECKPOINT;
        // 4 GiB a second.
        way.learn(left(1, 8, 0), Duration::from_millis(2310));
        assert_eq!(millis(way, left(1, 4, 0)), 1310);
        way.learn(left(1, 0, 0), Duration::from_secs(100));
        assert_eq!(millis(way, left(1, 4, 0)), 1310, "nothing to tell by");
    }

    #[test]
    fn no_guest_makes_others_pay_without_bounds() {
        let mut way = Way::CHECKPOINT;
        let honest = way.cost(left(1, 10, 0));
        way.learn(left(1, 1, 0), Duration::from_secs(36_000));
        assert!(way.cost(left(1, 10, 0)) < 5 * honest);
        way.learn(left(1, 1, 0), Duration::ZERO);
        assert!(way.cost(left(1, 10, 0)) * 5 > honest);
        let absurd = LeftToDriver {
            contexts: u64::MAX,
            bytes: u64::MAX,
            pinned: u64::MAX,
        };
        assert!(way.cost(absurd) > Duration::from_secs(3600));
    }
}
