//! Whether a session that is open is still announced.
//!
//! A program that ends takes its nodes along, and a domain that goes does; neither rings a doorbell.

use super::store::XenStore;
use super::watches::Watches;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Least time between two looks, however often the guest writes.
const PACE: Duration = Duration::from_millis(20);
/// Most time between two looks while somebody asks: a watch may be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// One session's.
pub struct Presence {
    store: Arc<XenStore>,
    watches: Watches,
    domid: u32,
    /// A node that is there as long as the session is announced.
    node: String,
    last: Mutex<Look>,
}

struct Look {
    at: Instant,
    /// Where the domain's data stood before it.
    fired: u64,
    gone: bool,
}

impl Look {
    fn is_due(&self, fired: u64, since: Duration) -> bool {
        !self.gone && (since >= LOOK_AGAIN || fired != self.fired && since >= PACE)
    }
}

impl Presence {
    /// Of the session whose folder has `node`, which was there just now.
    pub fn new(store: Arc<XenStore>, watches: Watches, domid: u32, node: String) -> Self {
        let look = Look {
            at: Instant::now(),
            fired: watches.data(domid),
            gone: false,
        };
        Presence {
            store,
            watches,
            domid,
            node,
            last: Mutex::new(look),
        }
    }

    /// Whether it has gone; looks only where that can have changed.
    pub fn is_gone(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(|e| e.into_inner());
        let fired = self.watches.data(self.domid);
        if last.is_due(fired, last.at.elapsed()) {
            last.at = Instant::now();
            last.fired = fired;
            // What cannot be read is no proof.
            last.gone = matches!(self.store.read(&self.node), Ok(None));
        }
        last.gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_made_when_something_was_written_or_a_second_is_over() {
        let mut look = Look {
            at: Instant::now(),
            fired: 3,
            gone: false,
        };
        assert!(!look.is_due(3, PACE));
        assert!(look.is_due(4, PACE));
        assert!(!look.is_due(4, PACE / 2));
        assert!(look.is_due(3, LOOK_AGAIN));
        look.gone = true;
        assert!(!look.is_due(4, LOOK_AGAIN), "it does not come back");
    }
}
