//! One migration under way: what it is at, for everybody to see, and what the operator wants of it.
//!
//! The thread that migrates tells; others order, look, and publish. An order is heard between two rounds, an abort in
//! the middle of one too.

use super::capture_sink::Counts;
use super::rounds::Rounds;
use protocol::control::Order;
use protocol::progress::{Phase, Progress, StandingOrder};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Why an aborted migration ended.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("called off by the operator; the programs go on here")]
pub struct CalledOff;

/// An order was not taken.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub enum OrderError {
    #[error("too late: its GPU state has left")]
    TooLate,
    #[error("no migration of domain {0} is under way")]
    NoMigration(u32),
    #[error(transparent)]
    CalledOff(#[from] CalledOff),
}

/// Where a migration stands towards the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// The programs compute here, or can be let go on: any order is taken.
    Copying,
    /// The GPU state is in the stream: it can be called back.
    Left,
    /// The operator has called it off.
    CalledOff,
    /// The domain has been let go.
    LetGo,
    /// The migration is over.
    Over,
}

#[derive(Debug)]
struct State {
    course: Course,
    shown: Progress,
}

/// One migration's.
#[derive(Debug)]
pub struct Steering {
    state: Mutex<State>,
    changed: Condvar,
    started: Instant,
    /// Bytes sent in the round or stop under way.
    pub sent: Counts,
    /// Ends waits for the guest and for the stream.
    cancelled: Arc<AtomicBool>,
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

impl Steering {
    /// Of a migration that begins, and aims at a blackout of `budget`; `cancelled` is set when the operator calls it off.
    pub fn new(budget: Duration, cancelled: Arc<AtomicBool>) -> Self {
        let shown = Progress {
            phase: Phase::Opening,
            wish: StandingOrder::None,
            round: 0,
            bytes: 0,
            expected: 0,
            copies: 0,
            zero: 0,
            dirty: None,
            left: 0,
            rate: None,
            predicted: None,
            budget: millis(budget),
            eta: None,
            elapsed: 0,
        };
        let course = Course::Copying;
        Steering {
            state: Mutex::new(State { course, shown }),
            changed: Condvar::new(),
            started: Instant::now(),
            sent: Counts::default(),
            cancelled,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Does what the operator orders.
    pub fn order(&self, order: Order) -> Result<(), OrderError> {
        let mut state = self.state();
        match (state.course, order) {
            (Course::Copying, Order::Hold) => state.shown.wish = StandingOrder::Hold,
            (Course::Copying, Order::Release) => state.shown.wish = StandingOrder::None,
            (Course::Copying, Order::Force) => state.shown.wish = StandingOrder::Force,
            (Course::Copying | Course::Left | Course::CalledOff, Order::Abort) => {
                state.course = Course::CalledOff;
                self.cancelled.store(true, Ordering::Relaxed);
            }
            (Course::CalledOff, _) => return Err(CalledOff.into()),
            (Course::Left | Course::LetGo | Course::Over, _) => return Err(OrderError::TooLate),
        }
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// What the operator wants.
    pub fn standing_order(&self) -> StandingOrder {
        self.state().shown.wish
    }

    /// An error once the operator has called it off.
    pub fn check(&self) -> Result<(), CalledOff> {
        match self.state().course {
            Course::CalledOff => Err(CalledOff),
            _ => Ok(()),
        }
    }

    /// The GPU state is in the stream, and nowhere else.
    pub fn leave(&self) {
        let mut state = self.state();
        state.shown.phase = Phase::Left;
        if state.course == Course::Copying {
            state.course = Course::Left;
        }
    }

    /// The domain is let go: an error where the operator has called it off, and no order is taken from here on.
    pub fn let_go(&self) -> Result<(), CalledOff> {
        let mut state = self.state();
        match state.course {
            Course::CalledOff => Err(CalledOff),
            _ => {
                state.course = Course::LetGo;
                Ok(())
            }
        }
    }

    /// Waits for an order, `time` at most.
    pub fn pause(&self, time: Duration) {
        let state = self.state();
        let (wish, course) = (state.shown.wish, state.course);
        let same = |s: &mut State| s.shown.wish == wish && s.course == course;
        drop(self.changed.wait_timeout_while(state, time, same));
    }

    /// A phase begins that is expected to send so many bytes.
    pub fn begin(&self, phase: Phase, round: u32, expected: u64) {
        self.sent.reset();
        let mut state = self.state();
        state.shown.phase = phase;
        state.shown.round = round;
        state.shown.expected = expected;
    }

    /// A round is over.
    pub fn learn(&self, rounds: &Rounds) {
        let mut state = self.state();
        let shown = &mut state.shown;
        shown.phase = Phase::Between;
        shown.dirty = Some(rounds.expected());
        shown.rate = Some(rounds.rate() as u64);
        shown.predicted = Some(millis(rounds.prediction().total()));
        shown.eta = rounds.eta().map(millis);
    }

    /// Device bytes that are left to drivers' own checkpoints.
    pub fn left_to_drivers(&self, bytes: u64) {
        self.state().shown.left = bytes;
    }

    /// Nothing can be ordered any more.
    pub fn end(&self) {
        self.state().course = Course::Over;
        self.changed.notify_all();
    }

    /// Whether it has not ended within `time`.
    pub fn goes_on(&self, time: Duration) -> bool {
        let goes_on = |s: &mut State| s.course != Course::Over;
        let waited = self.changed.wait_timeout_while(self.state(), time, goes_on);
        waited.is_ok_and(|(state, _)| state.course != Course::Over)
    }

    /// What is known now.
    pub fn progress(&self) -> Progress {
        let state = self.state();
        Progress {
            bytes: self.sent.bytes.load(Ordering::Relaxed),
            copies: self.sent.copies.load(Ordering::Relaxed),
            zero: self.sent.zero.load(Ordering::Relaxed),
            elapsed: millis(self.started.elapsed()),
            ..state.shown.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::{Bounds, Costs, Sent};

    fn steering() -> (Steering, Arc<AtomicBool>) {
        let cancelled = Arc::new(AtomicBool::new(false));
        let budget = Duration::from_millis(300);
        (Steering::new(budget, cancelled.clone()), cancelled)
    }

    #[test]
    fn orders_are_wishes_and_an_abort_ends_waits() {
        let (steering, cancelled) = steering();
        for (order, wish) in [
            (Order::Hold, StandingOrder::Hold),
            (Order::Release, StandingOrder::None),
            (Order::Force, StandingOrder::Force),
        ] {
            steering.order(order).unwrap();
            assert_eq!(steering.progress().wish, wish);
            steering.check().unwrap();
        }
        assert!(!cancelled.load(Ordering::Relaxed));
        steering.order(Order::Abort).unwrap();
        assert!(cancelled.load(Ordering::Relaxed));
        steering.check().unwrap_err();
        let error = steering.order(Order::Hold).unwrap_err();
        assert!(error.to_string().contains("called off"), "{error}");
    }

    #[test]
    fn an_order_ends_a_pause() {
        let (steering, _) = steering();
        std::thread::scope(|scope| {
            let pausing = scope.spawn(|| steering.pause(Duration::from_secs(3600)));
            // However late the other thread is: an order that came before its pause would leave it waiting.
            while !pausing.is_finished() {
                let wish = steering.standing_order();
                let order = match wish {
                    StandingOrder::Hold => Order::Release,
                    _ => Order::Hold,
                };
                steering.order(order).unwrap();
                std::thread::yield_now();
            }
        });
    }

    #[test]
    fn what_has_left_can_only_be_called_back() {
        let (steering, _) = steering();
        steering.leave();
        let error = steering.order(Order::Hold).unwrap_err();
        assert!(error.to_string().contains("too late"), "{error}");
        steering.order(Order::Abort).unwrap();
        steering.let_go().unwrap_err();
        steering.end();
        assert!(steering.order(Order::Abort).is_err());
    }

    #[test]
    fn an_abort_after_the_domain_was_let_go_is_refused() {
        let (steering, cancelled) = steering();
        steering.leave();
        steering.let_go().unwrap();
        let error = steering.order(Order::Abort).unwrap_err();
        assert!(error.to_string().contains("too late"), "{error}");
        assert!(!cancelled.load(Ordering::Relaxed));
    }

    #[test]
    fn progress_tells_what_the_rounds_know() {
        let (steering, _) = steering();
        let bounds = Bounds {
            budget: Duration::from_millis(300),
            rounds: 9,
            time: Duration::from_secs(9),
            bytes: u64::MAX,
        };
        let mut rounds = Rounds::new(bounds, Costs::default(), 1000);
        steering.begin(Phase::Round, rounds.next(), rounds.expected());
        for (count, bytes) in [(&steering.sent.bytes, 10), (&steering.sent.copies, 4)] {
            count.fetch_add(bytes, Ordering::Relaxed);
        }
        let shown = steering.progress();
        assert_eq!((shown.bytes, shown.expected, shown.dirty), (10, 1000, None));
        assert_eq!((shown.copies, shown.zero), (4, 0));
        steering.begin(Phase::Stop, rounds.next(), rounds.expected());
        assert_eq!(
            (steering.progress().bytes, steering.progress().copies),
            (0, 0)
        );
        rounds.record(Sent {
            bytes: 1000,
            dirty: 500,
            memory: None,
            took: Duration::from_secs(1),
            at: Duration::from_secs(1),
        });
        steering.learn(&rounds);
        let shown = steering.progress();
        assert_eq!((shown.dirty, shown.rate), (Some(500), Some(1000)));
        assert_eq!((shown.predicted, shown.eta), (Some(500), Some(500)));
    }
}
