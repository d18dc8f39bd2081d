//! Device memory of ours that the program gets when it finds no other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Weak};

use runtime::locks::{self, lock};

use super::retired;
use crate::abi::{CUDA_ERROR_OUT_OF_MEMORY, CUdevice, CUresult};
use crate::driver::vm::{Answer, check};

/// Has device memory that it can do without.
pub trait GivesWay: Send + Sync {
    /// Releases it. Whether there was any.
    fn give_way(&self) -> bool;
}

/// The one of the capture that runs.
static HOLDER: Mutex<Option<Weak<dyn GivesWay>>> = Mutex::new(None);

/// From now on it is asked.
pub fn is_held_by(holder: Weak<dyn GivesWay>) {
    *lock(&HOLDER) = Some(holder);
}

/// Makes a call that takes device memory; once more where there was none but ours. Without a lock of ours held.
///
/// # Errors
/// The driver's.
pub fn with_ours(call: impl Fn() -> CUresult) -> Answer<()> {
    match call() {
        CUDA_ERROR_OUT_OF_MEMORY if give_way() => check(call()),
        code => check(code),
    }
}

/// Threads of the program's that find no memory.
static WANTING: AtomicUsize = AtomicUsize::new(0);

/// Whether the program waits for memory that we use.
pub fn is_wanted() -> bool {
    WANTING.load(Ordering::Relaxed) > 0
}

/// Has our device memory released, and the program's that is still to be freed, as far as that is possible at once. Whether a call that
/// found none is worth another try.
#[cold]
pub fn give_way() -> bool {
    let has_freed = retired::free();
    let holder = lock(&HOLDER).as_ref().and_then(Weak::upgrade);
    WANTING.fetch_add(1, Ordering::Relaxed);
    let has_given = holder.is_some_and(|holder| holder.give_way());
    WANTING.fetch_sub(1, Ordering::Relaxed);
    has_freed || has_given
}

/// Devices that are counted.
const DEVICES: usize = 64;

/// Bytes that we have of each.
static OURS: [AtomicUsize; DEVICES] = [const { AtomicUsize::new(0) }; DEVICES];

fn of(device: CUdevice) -> Option<&'static AtomicUsize> {
    OURS.get(usize::try_from(device).ok()?)
}

/// So many bytes are ours from now on.
pub fn took(device: CUdevice, bytes: usize) {
    if let Some(ours) = of(device) {
        ours.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// They are no more.
pub fn gave(device: CUdevice, bytes: usize) {
    if let Some(ours) = of(device) {
        ours.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes that we have of a device: the program gets them when it asks.
pub fn ours(device: CUdevice) -> usize {
    of(device).map_or(0, |ours| ours.load(Ordering::Relaxed))
}

/// The lock, for a fork.
pub fn hold() -> Option<impl Sized> {
    locks::try_lock(&HOLDER)
}
