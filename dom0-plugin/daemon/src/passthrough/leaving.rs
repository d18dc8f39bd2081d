//! Devices that were to leave, and have not.
//!
//! A guest cannot be told to forget a removal that it has begun. Such a device is the guest's again only for now: it stays on record, so
//! that it is brought back when it has left after all.

use super::device::Device;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By domain and address; true once the guest was found to have it again.
#[derive(Debug, Default)]
pub struct Leaving(Mutex<BTreeMap<(u32, String), bool>>);

impl Leaving {
    fn all(&self) -> MutexGuard<'_, BTreeMap<(u32, String), bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A detach of `device` has timed out, or `is_leaving` is false: it has left or come.
    pub fn note(&self, domid: u32, device: &Device, is_leaving: bool) {
        let key = (domid, device.bdf.clone());
        match is_leaving {
            true => self.all().insert(key, false),
            false => self.all().remove(&key),
        };
    }

    /// Those of `devices` that may leave yet: known from now on to be there for the time being.
    pub fn settle(&self, domid: u32, devices: Vec<Device>) -> Vec<Device> {
        let mut all = self.all();
        let mut may_leave = devices;
        may_leave.retain(|d| match all.get_mut(&(domid, d.bdf.clone())) {
            Some(is_settled) => {
                *is_settled = true;
                true
            }
            None => false,
        });
        may_leave
    }

    /// Whether it may leave yet, and the guest was found to have it.
    pub fn is_settled(&self, domid: u32, device: &Device) -> bool {
        let all = self.all();
        all.get(&(domid, device.bdf.clone())) == Some(&true)
    }

    /// Whether any of the domain may.
    pub fn any(&self, domid: u32) -> bool {
        self.all().keys().any(|(of, _)| *of == domid)
    }

    /// The domain is no more.
    pub fn forget(&self, domid: u32) {
        self.all().retain(|(of, _), _| *of != domid);
    }
}
