//! The end of a piece of work, which others wait for; and the error that ends all work of a context.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::abi::*;
use crate::lock::lock;

#[derive(Default)]
pub struct Fence {
    done: Mutex<Option<Instant>>,
    changed: Condvar,
}

impl Fence {
    pub fn new() -> Arc<Fence> {
        Arc::default()
    }

    pub fn signal(&self) {
        *lock(&self.done) = Some(Instant::now());
        self.changed.notify_all();
    }

    /// When the work ended, if it has.
    pub fn done(&self) -> Option<Instant> {
        *lock(&self.done)
    }

    pub fn wait(&self) {
        let mut done = lock(&self.done);
        while done.is_none() {
            done = self
                .changed
                .wait(done)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// False at the deadline.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        let mut done = lock(&self.done);
        while done.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            done = self
                .changed
                .wait_timeout(done, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

/// The first error of a context's work. It stays.
#[derive(Debug, Default)]
pub struct Fault(AtomicI32);

impl Fault {
    pub fn set(&self, code: CUresult) {
        let _ = self
            .0
            .compare_exchange(CUDA_SUCCESS, code, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// # Errors
    /// The fault.
    pub fn check(&self) -> Outcome<()> {
        match self.0.load(Ordering::SeqCst) {
            CUDA_SUCCESS => Ok(()),
            code => Err(code),
        }
    }
}
