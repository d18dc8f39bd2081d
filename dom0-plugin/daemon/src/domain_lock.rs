//! One thing at a time with a domain.
//!
//! A migration, a manual request and the serving of detached sessions must not meet in one domain. Serving
//! is shared (several sessions at once), everything else is alone.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How often those who wait look whether the others move on.
const LOOK: Duration = Duration::from_millis(200);

/// The domain is taken.
#[derive(Debug, thiserror::Error)]
#[error("domain {domid} is busy: {what}; try again when it is over (xl-gpu status shows it)")]
pub struct Busy {
    /// The domain.
    pub domid: u32,
    /// What is going on.
    pub what: &'static str,
}

#[derive(Debug)]
enum Held {
    Alone(&'static str),
    /// How many, and how far they have come.
    Serving(usize, Progress),
}

impl Held {
    fn what(&self) -> &'static str {
        match self {
            Held::Alone(what) => what,
            Held::Serving(..) => SERVING,
        }
    }
}

/// Grows while sessions of a domain get their contents.
type Progress = Arc<AtomicU64>;

/// How long those who are being served are waited for.
#[derive(Debug, Clone, Copy)]
pub struct LockPatience {
    /// While none of them moves on.
    pub standstill: Duration,
    /// In all: a guest decides how fast its programs move on.
    pub in_all: Duration,
}

impl LockPatience {
    /// Not at all.
    pub const NONE: LockPatience = LockPatience {
        standstill: Duration::ZERO,
        in_all: Duration::ZERO,
    };
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<u32, Held>,
    /// Domains somebody wanted to serve while another had them alone.
    missed: HashSet<u32>,
}

/// Who works on which domain.
#[derive(Debug, Default)]
pub struct DomainLocks {
    state: Mutex<State>,
    changed: Condvar,
    /// Told of a domain that has to be looked at, because a look at it fell into a lock that is over now.
    look_again: Option<Sender<u32>>,
}

const SERVING: &str = "contents of its programs' buffers have not all arrived yet";
/// A lock that is over soon, and changes nothing.
pub const EXAMINATION: &str = "it is being examined";

impl DomainLocks {
    /// Nobody works; `look_again` is told of domains whose looks were refused, when they are free for one.
    pub fn new(look_again: Sender<u32>) -> Self {
        DomainLocks {
            look_again: Some(look_again),
            ..DomainLocks::default()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes the domain for `what` alone. Sessions that are being served, and an examination, are waited for within
    /// `patience` and until `cancelled` is set; another that is alone is not.
    pub fn alone(
        self: &Arc<Self>,
        domid: u32,
        what: &'static str,
        patience: LockPatience,
        cancelled: &AtomicBool,
    ) -> Result<DomainLock, Busy> {
        let begun = Instant::now();
        let end = begun + patience.in_all;
        let mut deadline = begun + patience.standstill;
        let mut seen = None;
        let mut state = self.state();
        loop {
            match state.held.get(&domid) {
                None => {
                    state.held.insert(domid, Held::Alone(what));
                    return Ok(DomainLock {
                        locks: self.clone(),
                        domid,
                        progress: Progress::default(),
                    });
                }
                Some(Held::Alone(what)) if *what != EXAMINATION => {
                    return Err(Busy { domid, what });
                }
                Some(holder) => {
                    if let Held::Serving(_, progress) = holder {
                        let now = progress.load(Ordering::Relaxed);
                        if seen.replace(now).is_some_and(|before| before != now) {
                            deadline = Instant::now() + patience.standstill;
                        }
                    }
                    let left = deadline.min(end).saturating_duration_since(Instant::now());
                    if left.is_zero() || cancelled.load(Ordering::Relaxed) {
                        return Err(Busy {
                            domid,
                            what: holder.what(),
                        });
                    }
                    state = match self.changed.wait_timeout(state, left.min(LOOK)) {
                        Ok((state, _)) => state,
                        Err(e) => e.into_inner().0,
                    };
                }
            }
        }
    }

    /// Joins those who serve sessions of the domain; `None` while somebody has it alone, and the domain will be looked at
    /// again after that.
    pub fn serving(self: &Arc<Self>, domid: u32) -> Option<DomainLock> {
        let State { held, missed } = &mut *self.state();
        let entry = held.entry(domid);
        let progress = match entry.or_insert_with(|| Held::Serving(0, Progress::default())) {
            Held::Alone(_) => {
                missed.insert(domid);
                return None;
            }
            Held::Serving(n, progress) => {
                *n += 1;
                progress.clone()
            }
        };
        Some(DomainLock {
            locks: self.clone(),
            domid,
            progress,
        })
    }

    /// What is going on with all domains.
    pub fn all(&self) -> Vec<(u32, &'static str)> {
        let state = self.state();
        let mut all: Vec<_> = state
            .held
            .iter()
            .map(|(d, held)| (*d, held.what()))
            .collect();
        all.sort_unstable();
        all
    }

    /// What is going on with the domain, for people.
    pub fn what(&self, domid: u32) -> Option<&'static str> {
        self.state().held.get(&domid).map(Held::what)
    }
}

/// A taken domain; given back when dropped.
#[derive(Debug)]
pub struct DomainLock {
    locks: Arc<DomainLocks>,
    domid: u32,
    progress: Progress,
}

impl DomainLock {
    /// Something has moved on: who waits for the domain waits on.
    pub fn moved_on(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// From alone to serving, without a moment in which somebody else could take the domain. Looks that were refused are
    /// made up for at the end: whoever shares serves first.
    pub fn share(&self) {
        let mut state = self.locks.state();
        state
            .held
            .insert(self.domid, Held::Serving(1, self.progress.clone()));
        drop(state);
        self.locks.changed.notify_all();
    }
}

impl Drop for DomainLock {
    fn drop(&mut self) {
        let mut state = self.locks.state();
        if let Some(Held::Serving(n, _)) = state.held.get_mut(&self.domid)
            && *n > 1
        {
            *n -= 1;
            return;
        }
        state.held.remove(&self.domid);
        let missed = state.missed.remove(&self.domid);
        drop(state);
        self.locks.changed.notify_all();
        if let Some(look_again) = self.locks.look_again.as_ref().filter(|_| missed) {
            // Nobody listens where the daemon ends.
            let _ = look_again.send(self.domid);
        }
    }
}

#[cfg(test)]
mod tests;
