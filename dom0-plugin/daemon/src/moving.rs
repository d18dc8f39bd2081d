//! Migrations under way, by domain.

use super::carrier::Carrier;
use super::steering::{OrderError, Steering};
use protocol::control::Order;
use protocol::progress::Progress;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How often progress is published.
const PACE: Duration = Duration::from_millis(500);

/// All that are under way, by domain.
pub struct Moving {
    carrier: Arc<dyn Carrier>,
    all: Mutex<BTreeMap<u32, Arc<Steering>>>,
}

impl Moving {
    /// None; progress will be published through `carrier`.
    pub fn new(carrier: Arc<dyn Carrier>) -> Self {
        Moving {
            carrier,
            all: Mutex::default(),
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Steering>>> {
        self.all.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What the domain's migration is at, if one is under way.
    pub fn progress(&self, domid: u32) -> Option<Progress> {
        let steering = self.all().get(&domid).cloned();
        steering.map(|s| s.progress())
    }

    /// Does what the operator orders.
    pub fn order(&self, domid: u32, order: Order) -> Result<(), OrderError> {
        let steering = self.all().get(&domid).cloned();
        let steering = steering.ok_or(OrderError::NoMigration(domid))?;
        log::info!("domain {domid}: the operator's order: {order:?}");
        steering.order(order)
    }

    /// A migration of `domid` begins that aims at a blackout of `budget`; `cancelled` is set when the operator calls it off.
    pub fn begin(
        self: &Arc<Self>,
        domid: u32,
        budget: Duration,
        cancelled: Arc<AtomicBool>,
    ) -> UnderWay {
        let steering = Arc::new(Steering::new(budget, cancelled));
        self.all().insert(domid, steering.clone());
        let (moving, shown) = (self.clone(), steering.clone());
        std::thread::spawn(move || moving.publish(domid, &shown));
        UnderWay {
            steering,
            moving: self.clone(),
            domid,
        }
    }

    /// Publishes progress until the migration is over.
    fn publish(&self, domid: u32, steering: &Steering) {
        let mut last = None;
        loop {
            let now = steering.progress();
            if last.as_ref() != Some(&now) {
                self.carrier.tell_progress(domid, Some(&now));
                last = Some(now);
            }
            if !steering.goes_on(PACE) {
                break;
            }
        }
        // The next one may have begun already: what it tells stays.
        let all = self.all();
        if !all.contains_key(&domid) {
            self.carrier.tell_progress(domid, None);
        }
    }
}

/// A migration's place among those under way, until it is dropped.
pub struct UnderWay {
    steering: Arc<Steering>,
    moving: Arc<Moving>,
    domid: u32,
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
        let mut all = self.moving.all();
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
