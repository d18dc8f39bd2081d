//! Closing the gate, and opening it.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::state::{CLOSED, COUNTING, DRAINING, NO_MEMBARRIER, OPEN, STATE, STATE_BITS, barrier};
use super::words::{CHANGED, inside, lock};

fn change(state: u32) {
    let guard = lock();
    let sticky = STATE.load(Ordering::SeqCst) & (NO_MEMBARRIER | COUNTING);
    STATE.store(state | sticky, Ordering::SeqCst);
    drop(guard);
    barrier();
    CHANGED.notify_all();
}

/// The gate is draining: ordinary calls wait. Dropping it opens the gate again.
#[derive(Debug)]
pub struct Draining(());

/// The gate is closed: no thread is inside and none can enter. Dropping it opens the gate again.
#[derive(Debug)]
pub struct Closed(());

/// Starts to close the gate. `None` if another move holds it.
pub fn drain() -> Option<Draining> {
    static MOVER: Mutex<()> = Mutex::new(());
    let _one = MOVER.lock().unwrap_or_else(PoisonError::into_inner);
    if STATE.load(Ordering::SeqCst) & STATE_BITS != OPEN {
        return None;
    }
    change(DRAINING);
    Some(Draining(()))
}

impl Draining {
    /// How many threads are inside an API call now, the calling thread not counted.
    pub fn inside(&self) -> usize {
        inside()
    }

    /// Closes the gate, or gives it back as it was where a thread is still inside.
    pub fn close(self) -> Result<Closed, Draining> {
        if inside() > 0 {
            return Err(self);
        }
        change(CLOSED);
        // A releasing call may have slipped in before the state changed; those are short.
        let mut turns = 0_u32;
        while inside() > 0 {
            turns += 1;
            if turns > 20_000 {
                change(DRAINING);
                return Err(self);
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        std::mem::forget(self);
        Ok(Closed(()))
    }
}

impl Closed {
    /// Lets in again what helps commands to end.
    pub fn drain(self) -> Draining {
        change(DRAINING);
        std::mem::forget(self);
        Draining(())
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        change(OPEN);
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        change(OPEN);
    }
}
