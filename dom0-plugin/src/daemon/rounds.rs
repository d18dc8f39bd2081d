//! When pre-copy is over.
//!
//! Round 0 takes everything. Dirty rounds follow until little is dirty, or until they stop helping: two rounds in a
//! row that leave no less dirty than the one before, or too many of them.

use crate::plugin::wire::Round;

/// Rounds that did not help, in a row, until it is given up.
const USELESS: u32 = 2;

/// Counts rounds and decides.
#[derive(Debug)]
pub struct Rounds {
    enough: u64,
    limit: u32,
    next: u32,
    useless: u32,
    last: Round,
}

impl Rounds {
    /// Pre-copy until no more than `enough` bytes are dirty, `limit` rounds at most (1 or more).
    pub fn new(enough: u64, limit: u32) -> Self {
        let last = Round {
            round: 0,
            bytes: 0,
            dirty_bytes: u64::MAX,
            finished: false,
        };
        Rounds {
            enough,
            limit,
            next: 0,
            useless: 0,
            last,
        }
    }

    /// Number of the coming round.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// A round has been made.
    pub fn done(&mut self, bytes: u64, dirty_bytes: u64) -> Round {
        self.useless = match dirty_bytes < self.last.dirty_bytes {
            true => 0,
            false => self.useless + 1,
        };
        self.next += 1;
        self.last = Round {
            round: self.next - 1,
            bytes,
            dirty_bytes,
            finished: dirty_bytes <= self.enough,
        };
        self.last.finished |= self.has_given_up();
        self.last
    }

    /// True when more rounds would not help. Where little is dirty they still do: memory may need some more, and each
    /// keeps the stop short.
    pub fn has_given_up(&self) -> bool {
        let useless = self.useless >= USELESS && self.last.dirty_bytes > self.enough;
        useless || self.next >= self.limit
    }

    /// The answer when no round is made.
    pub fn last(&self) -> Round {
        Round {
            bytes: 0,
            finished: true,
            ..self.last
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_dirt_is_enough_and_goes_on_cheaply() {
        let mut rounds = Rounds::new(100, 30);
        assert!(!rounds.done(1 << 30, 1 << 20).finished);
        assert!(rounds.done(1 << 20, 100).finished);
        assert!(!rounds.has_given_up());
        assert_eq!(rounds.next(), 2);
    }

    #[test]
    fn rounds_that_do_not_help_are_given_up() {
        let mut rounds = Rounds::new(100, 30);
        assert!(!rounds.done(1000, 900).finished);
        assert!(!rounds.done(900, 900).finished);
        assert!(rounds.done(900, 950).finished);
        assert!(rounds.has_given_up());
        assert_eq!(rounds.last().bytes, 0);
    }

    #[test]
    fn a_bad_round_between_good_ones_is_forgiven() {
        let mut rounds = Rounds::new(100, 30);
        for dirty in [900, 901, 800, 801, 700] {
            assert!(!rounds.done(1, dirty).finished, "{dirty}");
        }
    }

    #[test]
    fn there_is_a_limit() {
        let mut rounds = Rounds::new(0, 3);
        let finished: Vec<bool> = [30, 20, 10].map(|d| rounds.done(1, d).finished).into();
        assert_eq!(finished, [false, false, true]);
    }
}
