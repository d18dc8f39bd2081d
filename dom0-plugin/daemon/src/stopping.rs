//! Bringing all programs of a domain to rest together.
//!
//! The sessions stop side by side. A kernel may wait for a kernel of another program that is held at its gate already: collectives of
//! several processes (NCCL) do. Neither comes to rest then, however long one waits. So the first tries are short. Where not all come
//! to rest, all gates open again, the programs go on for as long as they were held, what they changed is sent, and the stop is tried
//! anew: in many moments no program is ahead of the others.
//!
//! A kernel that only runs long looks the same. Each try is twice as long as the one before, and the last takes all that is left, so
//! more than half of the time-out: what is lost to the others is less than that.

use super::capture::{Capture, CaptureError, Sums};
use super::capture_sink::CaptureSink;
use super::laps::Laps;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The first try. Queues of programs that do not wait for each other are mostly empty sooner.
const FIRST: Duration = Duration::from_millis(250);
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

/// How long each try may take, where there are several programs; `timeout` in all.
fn tries(timeout: Duration) -> Vec<Duration> {
    let (mut tries, mut left, mut next) = (Vec::new(), timeout, FIRST);
    while left > 3 * next {
        tries.push(next);
        left -= next;
        next *= 2;
    }
    tries.push(left);
    tries
}

/// Stops all programs' GPU calls and takes the rest; what they change between two tries goes by rounds from `round` on. On an error
/// some may be at rest.
pub fn stop_together(
    capture: &mut Capture,
    sink: &CaptureSink<'_>,
    timeout: Duration,
    round: u32,
) -> Result<AtRest, CaptureError> {
    let tries = match capture.count() > 1 && capture.can_reopen() {
        true => tries(timeout),
        false => vec![timeout],
    };
    let mut sent = 0u64;
    for (number, limit) in (1..).zip(&tries) {
        let laps = Laps::start();
        let failed = match capture.stop(*limit, sink) {
            Ok(sums) => {
                let bytes = sums.bytes.saturating_add(sent);
                return Ok(AtRest {
                    sums: Sums { bytes, ..sums },
                    laps,
                    tries: number,
                });
            }
            Err(failed) if failed.only_late => failed,
            Err(failed) => return Err(failed.first.into()),
        };
        if number == tries.len() {
            return Err(match number {
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
        capture.reopen()?;
        go_on(sink, *limit);
        let round = round.saturating_add(number as u32 - 1);
        let between = capture.round(round, sink)?;
        let bytes = failed.bytes.saturating_add(between.bytes);
        sent = sent.saturating_add(bytes);
    }
    unreachable!("the last try returns")
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
        for timeout in [0.0, 0.1, 0.75, 1.0, 5.0, 30.0, 90.0, 3600.0].map(seconds) {
            let tries = tries(timeout);
            assert_eq!(tries.iter().sum::<Duration>(), timeout);
            assert!(*tries.last().unwrap() >= timeout / 2, "{tries:?}");
            assert!(tries.is_sorted(), "{tries:?}");
        }
        assert_eq!(tries(seconds(0.7)).len(), 1);
        assert_eq!(tries(seconds(30.0)).len(), 6);
    }
}
