//! Locks that a fork holds, so that its child's copy of what lies behind them is whole.

use std::any::Any;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// What a fork holds.
pub type Held = Vec<Box<dyn Any>>;

/// `None` while another thread, or this one, has the lock.
pub fn try_lock<T>(lock: &'static Mutex<T>) -> Option<MutexGuard<'static, T>> {
    match lock.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A thread that panicked with the lock is no reason for others to.
pub fn lock<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While the program runs the session takes objects' own locks only with this in hand, which a fork waits for.
static BESIDE: Mutex<()> = Mutex::new(());

/// The session is about to take an object's own lock beside the program.
pub fn beside() -> MutexGuard<'static, ()> {
    lock(&BESIDE)
}

/// [`beside`], for a fork.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    try_lock(&BESIDE)
}
