//! Bringing all programs of a domain to rest together.
//!
//! The sessions stop side by side. A kernel may wait for a kernel of another program that is held at its gate already: collectives of
//! several processes (NCCL) do. Neither comes to rest then, however long one waits. So the first tries are short. Where not all come
//! to rest, all gates open again, the programs go on for as long as they were held, what they changed is sent, and the stop is tried
//! anew: in many moments no program is ahead of the others.
//!
//! A kernel that only runs long looks the same. Each try is twice as long as the one before, and the last takes all that is left, so
//! at least half of the time-out: what is lost to the others is no more than that.

use super::capture::{Capture, CaptureError, Sums};
use super::capture_sink::CaptureSink;
use super::laps::Laps;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The first try. Queues of programs that do not wait for each other are mostly empty sooner.
const FIRST: Duration = Duration::from_millis(250);
/// Most rounds between two tries.
const ROUNDS: u32 = 3;
/// So many changed bytes are few enough for a stop, whatever was expected.
const LITTLE: u64 = 64 << 20;
/// After so many times the time-out, all told, the next try is the last.
const MOST: u32 = 3;
/// How often somebody who calls it off is heard while the programs go on.
const TICK: Duration = Duration::from_millis(20);

/// All programs are at rest.
pub struct AtRest {
    /// Of all tries, and of what was sent in between.
    pub sums: Sums,
    /// Runs since the gates closed for good.
    pub laps: Laps,
    /// How often they were stopped.
    pub tries: usize,
}

/// How long the tries may take; `timeout` in all.
struct Tries {
    left: Duration,
    next: Duration,
    count: usize,
}

impl Tries {
    fn new(timeout: Duration) -> Tries {
        Tries {
            left: timeout,
            next: FIRST,
            count: 0,
        }
    }

    /// The next one, and whether it is the last: where it `must_be` it gets all that is left.
    fn next(&mut self, must_be: bool) -> (Duration, bool) {
        self.count += 1;
        let is_last = must_be || self.left <= 3 * self.next;
        let limit = if is_last { self.left } else { self.next };
        self.left -= limit;
        self.next *= 2;
        (limit, is_last)
    }
}

/// Stops all programs' GPU calls and takes the rest; what they change between two tries goes by rounds from `round` on, until about as
/// much is left as `expected`. On an error some may be at rest.
pub fn stop_together(
    capture: &mut Capture,
    sink: &CaptureSink<'_>,
    timeout: Duration,
    mut round: u32,
    expected: u64,
) -> Result<AtRest, CaptureError> {
    let is_alone = capture.count() < 2 || !capture.can_reopen();
    let (begun, mut tries, mut sent) = (Instant::now(), Tries::new(timeout), 0u64);
    loop {
        // Guests may take long for what they send in between.
        let is_enough = is_alone || begun.elapsed() > MOST * timeout;
        let (limit, is_last) = tries.next(is_enough);
        let laps = Laps::start();
        let failed = match capture.stop(limit, sink) {
            Ok(sums) => {
                let bytes = sums.bytes.saturating_add(sent);
                return Ok(AtRest {
                    sums: Sums { bytes, ..sums },
                    laps,
                    tries: tries.count,
                });
            }
            Err(failed) if failed.only_late => failed,
            Err(failed) => return Err(failed.first.into()),
        };
        if is_last {
            return Err(match tries.count {
                1 => failed.first.into(),
                tries => CaptureError::NotTogether {
                    tries,
                    error: failed.first,
                },
            });
        }
        log::info!(
            "not all came to rest within {limit:?}, all go on for a moment: {}",
            failed.first
        );
        sent = sent.saturating_add(failed.bytes);
        capture.reopen()?;
        go_on(sink, limit);
        for _ in 0..ROUNDS {
            let between = capture.round(round, sink)?;
            round = round.saturating_add(1);
            sent = sent.saturating_add(between.bytes);
            if between.dirty <= expected.saturating_mul(2).max(LITTLE) {
                break;
            }
        }
    }
}

/// Lets the programs run for `time`, unless it is called off.
fn go_on(sink: &CaptureSink<'_>, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until && !sink.cancelled.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_grow_and_the_last_has_most_of_the_time() {
        let seconds = |s: f64| Duration::from_secs_f64(s);
        let all = |timeout| {
            let (mut tries, mut all) = (Tries::new(timeout), Vec::new());
            loop {
                let (limit, is_last) = tries.next(false);
                all.push(limit);
                if is_last {
                    return all;
                }
            }
        };
        for timeout in [0.0, 0.1, 0.75, 1.0, 5.0, 30.0, 90.0, 3600.0].map(seconds) {
            let tries = all(timeout);
            assert_eq!(tries.iter().sum::<Duration>(), timeout);
            assert!(*tries.last().unwrap() >= timeout / 2, "{tries:?}");
            assert!(tries.is_sorted(), "{tries:?}");
        }
        assert_eq!(all(seconds(0.7)).len(), 1);
        assert_eq!(all(seconds(30.0)).len(), 6);
        // Where the rest took long there is one more.
        let mut tries = Tries::new(seconds(30.0));
        assert_eq!(tries.next(false), (FIRST, false));
        assert_eq!(tries.next(true), (seconds(29.75), true));
    }
}
