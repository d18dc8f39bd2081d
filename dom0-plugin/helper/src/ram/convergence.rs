//! When RAM passes are over.
//!
//! The GPU has the last word before the stop, because what is dirty of it then is copied while its programs wait. So RAM
//! goes first, which is the longest pass of all, and passes and rounds take turns until both have had enough. A pass has
//! a cost besides its bytes, it looks at every page: RAM stops at the first one that does not help.

/// A pass helps when it sends no more than this part of what the last one sent.
const HELPS: (u64, u64) = (4, 5);

/// Counts passes and decides.
#[derive(Debug)]
pub struct Convergence {
    limit: u32,
    enough: u64,
    passes: u32,
    last: u64,
    settled: bool,
    /// Rounds of the GPU since the last pass.
    rounds: u32,
    /// The GPU took so long to finish that RAM should be looked at once more.
    stale: bool,
}

impl Convergence {
    /// Passes until one sends no more than `enough` bytes, or does not help, or was the last of `limit`.
    pub fn new(limit: u32, enough: u64) -> Self {
        Self {
            limit,
            enough,
            passes: 0,
            last: u64::MAX,
            settled: limit == 0,
            rounds: 0,
            stale: false,
        }
    }

    pub fn wants_pass(&self) -> bool {
        !self.settled || self.stale
    }

    /// A pass has sent so many bytes.
    pub fn passed(&mut self, bytes: u64) {
        let helps =
            u128::from(bytes) * u128::from(HELPS.1) <= u128::from(self.last) * u128::from(HELPS.0);
        self.passes += 1;
        self.settled |= bytes <= self.enough || !helps || self.passes >= self.limit;
        self.last = bytes;
        self.rounds = 0;
        self.stale = false;
    }

    /// The GPU has had a round, and wants no more if `finished`; true when neither does.
    pub fn gpu_round(&mut self, finished: bool) -> bool {
        self.rounds += 1;
        self.stale = finished && self.rounds > 1 && self.passes < self.limit;
        finished && !self.wants_pass()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays passes that send these bytes with a GPU that is finished from its n-th round on; `p` and `r` in order.
    fn play(limit: u32, enough: u64, sends: &[u64], finished_at: u32) -> String {
        let mut convergence = Convergence::new(limit, enough);
        let (mut sends, mut rounds, mut order) = (sends.iter(), 0, String::new());
        loop {
            if convergence.wants_pass() {
                order.push('p');
                convergence.passed(*sends.next().unwrap_or(&0));
            }
            order.push('r');
            rounds += 1;
            if convergence.gpu_round(rounds >= finished_at) {
                return order;
            }
        }
    }

    #[test]
    fn ram_first_and_the_gpu_last() {
        assert_eq!(play(9, 10, &[1000, 10], 1), "prpr");
        assert_eq!(play(9, 10, &[1000, 100, 50, 9], 1), "prprprpr");
    }

    #[test]
    fn a_pass_that_does_not_help_is_the_last() {
        assert_eq!(play(9, 10, &[1000, 500, 450, 1], 1), "prprpr");
        assert_eq!(play(9, 10, &[1000, 900], 1), "prpr");
    }

    #[test]
    fn there_is_a_limit() {
        assert_eq!(play(2, 0, &[1000, 500, 250, 125], 1), "prpr");
        assert_eq!(play(1, 0, &[1000], 1), "pr");
    }

    #[test]
    fn where_the_gpu_takes_long_ram_is_looked_at_once_more() {
        assert_eq!(play(9, 10, &[1000, 5, 5], 5), "prprrrrpr");
        assert_eq!(play(2, 10, &[1000, 5], 5), "prprrrr");
    }

    #[test]
    fn without_a_plan_only_the_gpu_counts() {
        assert_eq!(play(0, 0, &[], 3), "rrr");
    }
}
