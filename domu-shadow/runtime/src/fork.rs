//! What a child of `fork(2)` gets.
//!
//! Only the thread that forked goes on in a child: none of ours is there, and a lock that another thread had stays locked. So a
//! fork holds all our locks, and the child's copy of what lies behind them is whole. Nothing moves the child: it has a gate that is
//! open, no storm, and callback threads of its own.
//!
//! In the middle of a move there is nothing to inherit. A thread that has used the GPU therefore forks when its objects and their
//! contents are there, as a call would wait for them. Where that takes long, and on threads that have nothing to do with
//! it, the fork does not wait; the child can do anything but use the GPU: every such call fails.
//!
//! A fork inside a call is a driver's, to run a helper, or that of a function which a driver calls for the program: the
//! locks that the call may have are left alone.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::locks::{self, Held};
use crate::{blocked, callbacks, gate, gpu_api, residency, vendor};

/// How long a fork waits for a move.
const LONG: Duration = Duration::from_secs(10);

thread_local! {
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
    /// Of the fork in progress; `None` if the child gets nothing.
    static LOCKS: RefCell<Option<Held>> = const { RefCell::new(None) };
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
        log::warn!("pthread_atfork(3) failed: GPU calls of a forked child may wait for ever");
    }
}

/// All locks that a call may take and that are no object's own; `None` where another thread has one. A fork waits for none with
/// others in hand, so their order is of no matter.
fn all_locks() -> Option<Held> {
    let mut held: Held = vec![
        Box::new(gate::hold()?),
        Box::new(blocked::hold()?),
        Box::new(callbacks::hold()?),
    ];
    let in_call = gate::is_inside();
    for api in gpu_api::all() {
        held.extend(api.hold_locks(in_call)?);
    }
    // A call may have these while it is with the driver.
    if !in_call {
        held.push(Box::new(locks::hold()?));
        held.push(Box::new(vendor::loaded::hold()?));
    }
    held.push(Box::new(std::io::stderr().lock()));
    Some(held)
}

fn is_whole() -> bool {
    !gate::is_closed() && !residency::is_arriving()
}

/// Our locks, with nothing of a move in progress behind them; `None` where that takes too long.
fn at_rest() -> Option<Held> {
    let deadline = Instant::now() + LONG;
    loop {
        // With the gate's lock in hand that stays so.
        if let Some(locks) = all_locks().filter(|_| is_whole()) {
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
fn keep(locks: Option<Held>) -> Option<Held> {
    LOCKS.try_with(|kept| kept.replace(locks)).ok().flatten()
}

extern "C" fn in_parent() {
    keep(None);
}

extern "C" fn in_child() {
    vendor::heap::stop_in_child();
    vendor::forked::let_go_in_child();
    match keep(None) {
        Some(locks) => {
            drop(locks);
            gate::open_in_child();
            residency::none_in_child();
            callbacks::none_in_child();
        }
        None => gate::shut_in_child(),
    }
}
