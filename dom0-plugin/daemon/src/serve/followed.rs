//! Domains that somebody follows until all is well with them: one thread for each.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// By domain: whether its follower is to hurry.
#[derive(Debug, Default)]
pub struct Followed {
    domains: Mutex<BTreeMap<u32, bool>>,
    hurry: Condvar,
}

impl Followed {
    fn domains(&self) -> MutexGuard<'_, BTreeMap<u32, bool>> {
        self.domains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the caller is to follow the domain from now on; whoever does already hurries.
    pub fn begin(&self, domid: u32) -> bool {
        let mut domains = self.domains();
        let is_new = !domains.contains_key(&domid);
        domains.insert(domid, !is_new);
        self.hurry.notify_all();
        is_new
    }

    /// Waits for `pause`, or until somebody else would begin; whether one would.
    pub fn pause(&self, domid: u32, pause: Duration) -> bool {
        let in_no_hurry =
            |domains: &mut BTreeMap<u32, bool>| !domains.get(&domid).copied().unwrap_or(true);
        let domains = self.domains();
        let waited = self.hurry.wait_timeout_while(domains, pause, in_no_hurry);
        let (mut domains, _) = waited.unwrap_or_else(PoisonError::into_inner);
        domains.insert(domid, false).unwrap_or(true)
    }

    /// The caller does not follow it after all.
    pub fn abandon(&self, domid: u32) {
        self.domains().remove(&domid);
    }

    /// Nobody follows it any more, if `is_done` says so and nobody has begun since the last pause; whether that is so.
    pub fn end_if(&self, domid: u32, is_done: bool) -> bool {
        let mut domains = self.domains();
        let ends = is_done && domains.get(&domid) == Some(&false);
        if ends {
            domains.remove(&domid);
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGES: Duration = Duration::from_secs(60);

    #[test]
    fn one_follows_and_nobody_is_missed() {
        let followed = Followed::default();
        assert!(followed.begin(1) && followed.begin(2));
        assert!(!followed.pause(1, Duration::ZERO));
        // Somebody begins while the follower waits, or while it is about to end.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| followed.pause(1, AGES));
            assert!(!followed.begin(1));
            assert!(waiting.join().unwrap());
        });
        assert!(!followed.end_if(1, false));
        assert!(!followed.begin(1));
        assert!(!followed.end_if(1, true));
        assert!(followed.pause(1, AGES));
        assert!(followed.end_if(1, true));
        assert!(followed.begin(1), "it has ended");
        followed.abandon(2);
        assert!(followed.begin(2));
    }
}
