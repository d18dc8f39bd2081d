//! One thing at a time with a domain.
//!
//! A migration, a manual request and the serving of detached sessions must not meet in one domain. Serving
//! is shared (several sessions at once), everything else is alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// Who works on which domain.
#[derive(Debug, Default)]
pub struct Claims {
    held: Mutex<HashMap<u32, Held>>,
    changed: Condvar,
}

const SERVING: &str = "contents of its programs' buffers have not all arrived yet";
/// A claim that is over soon, and changes nothing.
pub const EXAMINATION: &str = "it is being examined";

impl Claims {
    fn held(&self) -> MutexGuard<'_, HashMap<u32, Held>> {
        self.held.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes the domain for `what` alone. Sessions that are being served, and an examination, are waited for until they
    /// have not moved on for `patience`; another that is alone is not.
    pub fn alone(
        self: &Arc<Self>,
        domid: u32,
        what: &'static str,
        patience: Duration,
    ) -> Result<Claim, Busy> {
        let mut deadline = Instant::now() + patience;
        let mut seen = None;
        let mut held = self.held();
        loop {
            match held.get(&domid) {
                None => {
                    held.insert(domid, Held::Alone(what));
                    return Ok(Claim {
                        claims: self.clone(),
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
                            deadline = Instant::now() + patience;
                        }
                    }
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Busy {
                            domid,
                            what: holder.what(),
                        });
                    }
                    held = match self.changed.wait_timeout(held, left.min(LOOK)) {
                        Ok((held, _)) => held,
                        Err(e) => e.into_inner().0,
                    };
                }
            }
        }
    }

    /// Joins those who serve sessions of the domain; `None` while somebody has it alone.
    pub fn serving(self: &Arc<Self>, domid: u32) -> Option<Claim> {
        let mut held = self.held();
        let entry = held.entry(domid);
        let progress = match entry.or_insert_with(|| Held::Serving(0, Progress::default())) {
            Held::Alone(_) => return None,
            Held::Serving(n, progress) => {
                *n += 1;
                progress.clone()
            }
        };
        Some(Claim {
            claims: self.clone(),
            domid,
            progress,
        })
    }

    /// What is going on with the domain, for people.
    pub fn what(&self, domid: u32) -> Option<&'static str> {
        self.held().get(&domid).map(Held::what)
    }
}

/// A taken domain; given back when dropped.
#[derive(Debug)]
pub struct Claim {
    claims: Arc<Claims>,
    domid: u32,
    progress: Progress,
}

impl Claim {
    /// Something has moved on: who waits for the domain waits on.
    pub fn moved_on(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// From alone to serving, without a moment in which somebody else could take the domain.
    pub fn share(&self) {
        self.claims
            .held()
            .insert(self.domid, Held::Serving(1, self.progress.clone()));
        self.claims.changed.notify_all();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut held = self.claims.held();
        match held.get_mut(&self.domid) {
            Some(Held::Serving(n, _)) if *n > 1 => *n -= 1,
            _ => {
                held.remove(&self.domid);
            }
        }
        drop(held);
        self.claims.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_keeps_everybody_out() {
        let claims = Arc::new(Claims::default());
        let claim = claims.alone(1, "a migration", Duration::ZERO).unwrap();
        assert!(claims.serving(1).is_none());
        let busy = claims
            .alone(1, "detach", Duration::from_secs(60))
            .unwrap_err();
        assert!(busy.to_string().contains("a migration"), "{busy}");
        assert!(claims.alone(2, "detach", Duration::ZERO).is_ok());
        drop(claim);
        assert!(claims.serving(1).is_some());
    }

    #[test]
    fn those_who_serve_are_waited_for() {
        let claims = Arc::new(Claims::default());
        let first = claims.serving(1).unwrap();
        let second = claims.serving(1).unwrap();
        assert!(claims.alone(1, "a migration", Duration::ZERO).is_err());
        let waiting = std::thread::spawn({
            let claims = claims.clone();
            move || {
                claims
                    .alone(1, "a migration", Duration::from_secs(60))
                    .map(drop)
            }
        });
        drop(first);
        drop(second);
        waiting.join().unwrap().unwrap();
        assert_eq!(claims.what(1), None);
    }

    #[test]
    fn those_who_move_on_are_waited_for_longer() {
        let claims = Arc::new(Claims::default());
        let serving = claims.serving(1).unwrap();
        let patience = 4 * LOOK;
        let waiting = std::thread::spawn({
            let claims = claims.clone();
            move || claims.alone(1, "a migration", patience).map(drop)
        });
        let begun = Instant::now();
        while begun.elapsed() < 3 * patience {
            serving.moved_on();
            std::thread::sleep(LOOK / 4);
        }
        drop(serving);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn a_shared_claim_lets_others_serve() {
        let claims = Arc::new(Claims::default());
        let claim = claims.alone(1, "a migration", Duration::ZERO).unwrap();
        claim.share();
        let other = claims.serving(1).unwrap();
        drop(claim);
        assert!(claims.alone(1, "detach", Duration::ZERO).is_err());
        drop(other);
        assert!(claims.alone(1, "detach", Duration::ZERO).is_ok());
    }
}
