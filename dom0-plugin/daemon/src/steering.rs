//! Migrations under way: what they are at, for everybody to see, and what the operator wants of them.
//!
//! The thread that migrates tells; others order, look, and publish. An order is heard between two rounds, an abort in
//! the middle of one too.

use super::Daemon;
use super::rounds::Rounds;
use super::tee::Counts;
use protocol::control::Order;
use protocol::progress::{Phase, Progress, StandingOrder};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How often progress is published.
const PACE: Duration = Duration::from_millis(500);

/// Why an aborted migration ended.
pub const ABORTED: &str = "called off by the operator; the programs go on here";

#[derive(Debug)]
struct State {
    wish: StandingOrder,
    aborted: bool,
    /// The domain has been let go.
    committed: bool,
    over: bool,
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
    fn new(budget: Duration, cancelled: Arc<AtomicBool>) -> Self {
        let shown = Progress {
            phase: Phase::Opening,
            wish: StandingOrder::None,
            round: 0,
            bytes: 0,
            expected: 0,
            copies: 0,
            zero: 0,
            dirty: None,
            rate: None,
            predicted: None,
            budget: millis(budget),
            eta: None,
            elapsed: 0,
        };
        Steering {
            state: Mutex::new(State {
                wish: StandingOrder::None,
                aborted: false,
                committed: false,
                over: false,
                shown,
            }),
            changed: Condvar::new(),
            started: Instant::now(),
            sent: Counts::default(),
            cancelled,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn order(&self, order: Order) -> Result<(), String> {
        let mut state = self.state();
        let left = state.shown.phase == Phase::Left && order != Order::Abort;
        if state.over || state.committed || left {
            return Err("too late: its GPU state has left".into());
        }
        match order {
            Order::Hold => state.wish = StandingOrder::Hold,
            Order::Release => state.wish = StandingOrder::None,
            Order::Force => state.wish = StandingOrder::Force,
            Order::Abort => {
                state.aborted = true;
                self.cancelled.store(true, Ordering::Relaxed);
            }
        }
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// What the operator wants.
    pub fn wish(&self) -> StandingOrder {
        self.state().wish
    }

    /// An error once the operator has called it off.
    pub fn check(&self) -> Result<(), String> {
        match self.state().aborted {
            false => Ok(()),
            true => Err(ABORTED.to_owned()),
        }
    }

    /// The domain is let go: an error where the operator has called it off, and no order is taken from here on.
    pub fn commit(&self) -> Result<(), String> {
        let mut state = self.state();
        match state.aborted {
            false => {
                state.committed = true;
                Ok(())
            }
            true => Err(ABORTED.to_owned()),
        }
    }

    /// Waits for an order, `time` at most.
    pub fn pause(&self, time: Duration) {
        let state = self.state();
        let (wish, aborted) = (state.wish, state.aborted);
        let same = |s: &mut State| s.wish == wish && s.aborted == aborted;
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

    /// A phase in which nothing is sent.
    pub fn enter(&self, phase: Phase) {
        self.state().shown.phase = phase;
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

    /// Nothing can be ordered any more.
    fn end(&self) {
        self.state().over = true;
        self.changed.notify_all();
    }

    /// What is known now.
    pub fn progress(&self) -> Progress {
        let state = self.state();
        Progress {
            wish: state.wish,
            bytes: self.sent.bytes.load(Ordering::Relaxed),
            copies: self.sent.copies.load(Ordering::Relaxed),
            zero: self.sent.zero.load(Ordering::Relaxed),
            elapsed: millis(self.started.elapsed()),
            ..state.shown.clone()
        }
    }
}

/// All that are under way, by domain.
#[derive(Debug, Default)]
pub struct Moving(Mutex<BTreeMap<u32, Arc<Steering>>>);

impl Moving {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Steering>>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What the domain's migration is at, if one is under way.
    pub fn progress(&self, domid: u32) -> Option<Progress> {
        let steering = self.all().get(&domid).cloned();
        steering.map(|s| s.progress())
    }
}

/// A migration's place among those under way, until it is dropped.
pub struct UnderWay {
    steering: Arc<Steering>,
    daemon: Arc<Daemon>,
    domid: u32,
}

impl UnderWay {
    /// A migration of `domid` begins; `cancelled` is set when the operator calls it off.
    pub fn begin(daemon: &Arc<Daemon>, domid: u32, cancelled: Arc<AtomicBool>) -> Self {
        let steering = Arc::new(Steering::new(daemon.settings.precopy.budget, cancelled));
        daemon.moving.all().insert(domid, steering.clone());
        let (publisher, shown) = (daemon.clone(), steering.clone());
        std::thread::spawn(move || publish(&publisher, domid, &shown));
        UnderWay {
            steering,
            daemon: daemon.clone(),
            domid,
        }
    }
}

impl std::ops::Deref for UnderWay {
    type Target = Steering;

    fn deref(&self) -> &Steering {
        &self.steering
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // The next one may have begun already.
        let mut all = self.daemon.moving.all();
        if all
            .get(&self.domid)
            .is_some_and(|s| Arc::ptr_eq(s, &self.steering))
        {
            all.remove(&self.domid);
        }
        drop(all);
        self.steering.end();
    }
}

/// Publishes progress until the migration is over.
fn publish(daemon: &Daemon, domid: u32, steering: &Steering) {
    let mut last = None;
    loop {
        let state = steering.state();
        if state.over {
            break;
        }
        drop(state);
        let now = steering.progress();
        if last.as_ref() != Some(&now) {
            daemon.carrier.tell_progress(domid, Some(&now));
            last = Some(now);
        }
        let state = steering.state();
        drop(
            steering
                .changed
                .wait_timeout_while(state, PACE, |s| !s.over),
        );
    }
    // The next one may have begun already: what it tells stays.
    let moving = daemon.moving.all();
    if !moving.contains_key(&domid) {
        daemon.carrier.tell_progress(domid, None);
    }
}

/// Does what the operator orders.
pub fn order(daemon: &Daemon, domid: u32, order: Order) -> Result<(), String> {
    let steering = daemon.moving.all().get(&domid).cloned();
    let steering =
        steering.ok_or_else(|| format!("no migration of domain {domid} is under way"))?;
    log::info!("domain {domid}: the operator's order: {order:?}");
    steering.order(order)
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
        assert_eq!(steering.check().unwrap_err(), ABORTED);
    }

    #[test]
    fn an_order_ends_a_pause() {
        let (steering, _) = steering();
        std::thread::scope(|scope| {
            let pausing = scope.spawn(|| steering.pause(Duration::from_secs(3600)));
            // However late the other thread is: an order that came before its pause would leave it waiting.
            while !pausing.is_finished() {
                let wish = steering.wish();
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
        steering.enter(Phase::Left);
        assert!(
            steering
                .order(Order::Hold)
                .unwrap_err()
                .contains("too late")
        );
        steering.order(Order::Abort).unwrap();
        assert_eq!(steering.commit().unwrap_err(), ABORTED);
        steering.end();
        assert!(steering.order(Order::Abort).is_err());
    }

    #[test]
    fn an_abort_after_the_domain_was_let_go_is_refused() {
        let (steering, cancelled) = steering();
        steering.enter(Phase::Left);
        steering.commit().unwrap();
        let error = steering.order(Order::Abort).unwrap_err();
        assert!(error.contains("too late"), "{error}");
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
