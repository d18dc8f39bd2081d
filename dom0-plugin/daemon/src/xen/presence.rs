//! Whether a session's process still runs, and a session that is open is still announced.
//!
//! A program that ends takes its nodes along, and a domain that goes does; neither rings a doorbell. One that is killed leaves
//! them. But the guest's kernel ends a grant that lasts as long as the process.

use super::store::XenStore;
use super::watches::Watches;
use channel::image::SessionId;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Least time between two looks, however often the guest writes.
const PACE: Duration = Duration::from_millis(20);
/// Most time between two looks while somebody asks: a watch may be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a session published in its node `alive`.
#[derive(Debug, Clone, Copy)]
pub struct Alive {
    domid: u32,
    session: SessionId,
    reference: u32,
}

impl Alive {
    /// By the node's value; `None` for nonsense.
    pub fn parse(domid: u32, session: SessionId, text: &str) -> Option<Alive> {
        let reference = text.parse().ok()?;
        Some(Alive {
            domid,
            session,
            reference,
        })
    }

    /// Whether the process has certainly ended: killed, or it runs another program by now.
    pub fn has_ended(&self) -> bool {
        let Ok(domid) = self.domid.try_into() else {
            return false;
        };
        let gone = xen_bindings::is_gone(domid, self.reference, self.session.0);
        // What cannot be told is no proof.
        gone.unwrap_or_else(|e| {
            log::warn!("domain {domid}: session {}: {e}", self.session);
            false
        })
    }
}

/// One session's.
pub struct Presence {
    store: Arc<XenStore>,
    watches: Watches,
    domid: u32,
    /// A node that is there as long as the session is announced.
    node: String,
    alive: Option<Alive>,
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
    pub fn new(
        store: Arc<XenStore>,
        watches: Watches,
        domid: u32,
        node: String,
        alive: Option<Alive>,
    ) -> Self {
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
            alive,
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
            last.gone = matches!(self.store.read(&self.node), Ok(None))
                || self.alive.is_some_and(|alive| alive.has_ended());
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
