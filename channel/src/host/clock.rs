//! How long a guest may keep dom0 waiting.

use super::error::HostError;
use std::time::Duration;

/// A step may keep dom0 waiting, in all, for this many times the silence ...
const STEP_SILENCES: u32 = 10;
/// ... and as long as its bytes take at this rate, in bytes per second: 4 MiB/s, slower than any guest
/// worth waiting for.
const FLOOR_RATE: f64 = (4 << 20) as f64;
/// The least a `Busy` costs, so that a stream of them ends.
const BUSY_COST: Duration = Duration::from_millis(10);

/// How long a guest may say nothing.
#[derive(Debug, Clone, Copy)]
pub struct HostTimeouts {
    /// Between two messages of one step. A stop may be silent for its drain's time-out on top of it, an
    /// unload and a restore (drivers, program builds) for nine times as much. All waits of a step
    /// together may come to ten times this, plus the same allowance, plus 1 s for each 4 MiB sent.
    pub silence: Duration,
}

impl Default for HostTimeouts {
    fn default() -> Self {
        HostTimeouts {
            silence: Duration::from_secs(60),
        }
    }
}

impl HostTimeouts {
    /// The allowance of a step that may work without a word, once.
    pub(super) fn long_work(&self) -> Duration {
        self.silence.saturating_mul(STEP_SILENCES - 1)
    }
}

/// What is left of it in one step. Only time spent waiting for the guest counts: a slow spool or stream
/// is not the guest's fault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    silence: Duration,
    /// Silence beyond `silence` that this step may still use up.
    allowance: Duration,
    left: Duration,
    waited: Duration,
}

impl Clock {
    pub(super) fn start(timeouts: HostTimeouts, allowance: Duration) -> Clock {
        Clock {
            silence: timeouts.silence,
            allowance,
            left: timeouts
                .silence
                .saturating_mul(STEP_SILENCES)
                .saturating_add(allowance),
            waited: Duration::ZERO,
        }
    }

    /// How long the next wait may last.
    pub(super) fn next_wait(&self) -> Result<Duration, HostError> {
        if self.left.is_zero() {
            return Err(HostError::TooSlow(self.waited));
        }
        Ok(self.silence.saturating_add(self.allowance).min(self.left))
    }

    /// A wait has lasted `waited`.
    pub(super) fn waited(&mut self, waited: Duration) {
        self.waited = self.waited.saturating_add(waited);
        self.left = self.left.saturating_sub(waited);
        self.allowance = self
            .allowance
            .saturating_sub(waited.saturating_sub(self.silence));
    }

    /// The guest said that it is at work.
    pub(super) fn busy(&mut self) {
        self.left = self.left.saturating_sub(BUSY_COST);
    }

    /// `bytes` have come (or gone) meanwhile.
    pub(super) fn moved(&mut self, bytes: u64) {
        let earned = Duration::from_secs_f64(bytes as f64 / FLOOR_RATE);
        self.left = self.left.saturating_add(earned);
    }

    /// What the step could still have been silent for.
    pub(super) fn allowance(&self) -> Duration {
        self.allowance
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);

    proptest! {
        /// Whatever a guest does, the waits of one step come to an end in time.
        #[test]
        fn a_step_ends(silence in 0u64..100, allowance in 0u64..1000,
                       waits in prop::collection::vec((0.0..1.0f64, 0u64..1 << 24), 0..400)) {
            let timeouts = HostTimeouts { silence: S * silence as u32 };
            let mut clock = Clock::start(timeouts, S * allowance as u32);
            let (mut waited, mut bytes) = (0.0, 0);
            for (part, moved) in waits {
                let Ok(limit) = clock.next_wait() else { break };
                prop_assert!(limit <= timeouts.silence + S * allowance as u32);
                clock.waited(limit.mul_f64(part));
                waited += limit.mul_f64(part).as_secs_f64();
                clock.moved(moved);
                bytes += moved;
            }
            let bound = (silence * 10 + allowance) as f64 + bytes as f64 / FLOOR_RATE;
            prop_assert!(waited <= bound + 1e-3, "{waited} s of {bound}");
        }
    }

    #[test]
    fn an_allowance_is_used_up_once() {
        let mut clock = Clock::start(HostTimeouts { silence: S }, 100 * S);
        assert_eq!(clock.next_wait().unwrap(), 101 * S);
        clock.waited(91 * S);
        assert_eq!(clock.next_wait().unwrap(), 11 * S);
        clock.waited(11 * S);
        assert_eq!(clock.next_wait().unwrap(), S);
    }

    #[test]
    fn a_guest_that_is_only_ever_busy_is_cut() {
        let mut clock = Clock::start(HostTimeouts { silence: S }, Duration::ZERO);
        let said = (0..).take_while(|_| {
            clock.busy();
            clock.next_wait().is_ok()
        });
        assert_eq!(said.count(), 999);
    }

    #[test]
    fn endless_times_do_not_overflow() {
        let timeouts = HostTimeouts {
            silence: Duration::MAX,
        };
        let mut clock = Clock::start(timeouts, Duration::MAX);
        clock.moved(u64::MAX);
        assert_eq!(clock.next_wait().unwrap(), Duration::MAX);
    }
}
