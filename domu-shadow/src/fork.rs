//! What a child of `fork(2)` gets.
//!
//! Only the thread that forked goes on in a child: none of ours is there, and a lock that another thread had stays locked. So a
//! fork holds all our locks, and the child's copy of what lies behind them is whole. Nothing moves the child: it has a gate that is
//! open, no storm, and callback threads of its own.
//!
//! In the middle of a move there is nothing to inherit. A thread that has used OpenCL therefore forks when its objects and their
//! contents are there, as a call would wait for them. Where that takes long, and on threads that have nothing to do with
//! OpenCL, the fork does not wait; the child can do anything but OpenCL, of which every call fails.
//!
//! A fork inside an OpenCL call is a driver's, to run a helper, or that of a function which a driver calls for the program: the
//! locks that the call may have are left alone.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::core::{handle, held, movable, presence, retired, running, svm};
use crate::{callbacks, driver, gate};

/// How long a fork waits for a move.
const LONG: Duration = Duration::from_secs(10);

thread_local! {
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
    /// Of the fork in progress; `None` if the child gets nothing.
    static LOCKS: RefCell<Option<Vec<Box<dyn Any>>>> = const { RefCell::new(None) };
}

/// The calling thread moves the program: what it forks is a driver's helper.
pub fn is_movers_thread() {
    IS_OURS.set(true);
}

/// From now on forks are prepared for.
pub fn prepare() {
    // SAFETY: plain functions of this library, which is never unloaded.
    let registered = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    if registered != 0 {
        log::warn!("pthread_atfork(3) failed: OpenCL calls of a forked child may wait for ever");
    }
}

/// `None` while another thread, or this one, has the lock.
pub fn try_lock<T>(lock: &'static Mutex<T>) -> Option<MutexGuard<'static, T>> {
    match lock.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// While the program runs the session takes objects' own locks only with this in hand, which a fork waits for.
static BESIDE: Mutex<()> = Mutex::new(());

/// The session is about to take an object's own lock beside the program.
pub fn beside() -> MutexGuard<'static, ()> {
    BESIDE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All locks that a call may take and that are no object's own; `None` where another thread has one. A fork waits for none with
/// others in hand, so their order is of no matter.
fn locks() -> Option<Vec<Box<dyn Any>>> {
    let mut locks: Vec<Box<dyn Any>> = vec![
        Box::new(gate::hold()?),
        Box::new(svm::hold()?),
        Box::new(movable::hold()?),
        Box::new(callbacks::hold()?),
        Box::new(handle::hold()?),
    ];
    // A call may have these while it is with the driver.
    if !gate::is_inside() {
        locks.push(Box::new(try_lock(&BESIDE)?));
        locks.push(Box::new(driver::loader::hold()?));
        locks.push(Box::new(held::hold()?));
        locks.push(Box::new(running::hold()?));
        locks.push(Box::new(retired::hold()?));
    }
    locks.push(Box::new(std::io::stderr().lock()));
    Some(locks)
}

fn is_whole() -> bool {
    !gate::is_closed() && !presence::is_arriving()
}

/// Our locks, with nothing of a move in progress behind them; `None` where that takes too long.
fn at_rest() -> Option<Vec<Box<dyn Any>>> {
    let deadline = Instant::now() + LONG;
    loop {
        // With the gate's lock in hand that stays so.
        if let Some(locks) = locks().filter(|_| is_whole()) {
            return Some(locks);
        }
        let is_users = gate::knows_this_thread();
        if Instant::now() >= deadline || (!is_whole() && !is_users) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

extern "C" fn before() {
    if !IS_OURS.get() {
        keep(at_rest());
    }
}

/// Instead of what was kept before, which is given back. Nothing is kept once the thread's locals are gone: at the program's exit.
fn keep(locks: Option<Vec<Box<dyn Any>>>) -> Option<Vec<Box<dyn Any>>> {
    LOCKS.try_with(|kept| kept.replace(locks)).ok().flatten()
}

extern "C" fn in_parent() {
    keep(None);
}

extern "C" fn in_child() {
    driver::stop_in_child();
    match keep(None) {
        Some(locks) => {
            drop(locks);
            gate::open_in_child();
            presence::none_in_child();
            callbacks::none_in_child();
        }
        None => gate::shut_in_child(),
    }
}
