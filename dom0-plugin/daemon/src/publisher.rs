//! Tells the administrator what is going on with each domain, and remembers what it told.

use super::carrier::Carrier;
use protocol::status::{Published, PublishedState};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// What was last published about each domain.
pub struct Publisher {
    carrier: Arc<dyn Carrier>,
    last: Mutex<BTreeMap<u32, Published>>,
}

impl Publisher {
    /// Publishes through `carrier`. The domains of `detached` were detached by an earlier daemon.
    pub fn new(carrier: Arc<dyn Carrier>, detached: impl IntoIterator<Item = u32>) -> Self {
        let detached = detached.into_iter().map(|domid| {
            let state = PublishedState::Detached;
            let error = String::new();
            (domid, Published { state, error })
        });
        Publisher {
            carrier,
            last: Mutex::new(detached.collect()),
        }
    }

    fn last(&self) -> MutexGuard<'_, BTreeMap<u32, Published>> {
        self.last.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Publishes `state`; the last error is taken off.
    pub fn tell(&self, domid: u32, state: PublishedState) {
        self.publish(domid, state, None);
    }

    /// Publishes that something failed, and why.
    pub fn failed(&self, domid: u32, reason: &dyn ToString) {
        self.publish(domid, PublishedState::Failed, Some(reason.to_string()));
    }

    /// Publishes why a request was refused; the state stays what it is.
    pub fn refused(&self, domid: u32, reason: &dyn ToString) {
        let state = self.last_of(domid).state;
        self.publish(domid, state, Some(reason.to_string()));
    }

    fn publish(&self, domid: u32, state: PublishedState, error: Option<String>) {
        let published = Published {
            state,
            error: error.clone().unwrap_or_default(),
        };
        self.last().insert(domid, published);
        self.carrier.tell(domid, state, error.as_deref());
    }

    /// What was last published about the domain.
    pub fn last_of(&self, domid: u32) -> Published {
        self.last().get(&domid).cloned().unwrap_or_default()
    }

    /// The domain is no more.
    pub fn forget(&self, domid: u32) {
        self.last().remove(&domid);
    }
}
