//! What happens around every call: its count, the failures and delays that the options order for it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::driver;
use crate::ffi::CLResult;
use crate::options::{Delay, Failure};

static CALLS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

thread_local! {
    // No destructor: one would keep the library mapped after `dlclose` for as long as the thread lives.
    static CURRENT: Cell<&'static str> = const { Cell::new("") };
}

/// The entry point that this thread is in; empty in a worker.
pub fn current() -> &'static str {
    CURRENT.get()
}

/// Runs an entry point's body.
pub fn run<T>(function: &'static str, body: impl FnOnce() -> CLResult<T>) -> CLResult<T> {
    let outer = CURRENT.replace(function);
    let result = before(function).and_then(|()| body());
    CURRENT.set(outer);
    result
}

fn before(function: &'static str) -> CLResult<()> {
    let call = {
        let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        let count = calls.entry(function).or_insert(0);
        *count += 1;
        *count
    };
    let options = driver::options();
    sleep(&options.delays, function);
    fail(&options.failures, function, call)
}

/// How often each entry point was called in this load.
pub fn counts() -> BTreeMap<&'static str, u64> {
    CALLS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// How often one entry point was called.
pub fn count(function: &str) -> u64 {
    CALLS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(function)
        .copied()
        .unwrap_or(0)
}

/// Starts counting anew: the next call of each function is its first.
pub fn reset() {
    CALLS.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Sleeps as the rules say.
pub fn sleep(rules: &[Delay], function: &str) {
    rules
        .iter()
        .filter(|rule| rule.function == function)
        .for_each(|rule| thread::sleep(rule.time));
}

/// Fails as the rules say.
pub fn fail(rules: &[Failure], function: &str, call: u64) -> CLResult<()> {
    match rules
        .iter()
        .find(|rule| rule.function == function && rule.nth.matches(call))
    {
        Some(rule) => Err(rule.code),
        None => Ok(()),
    }
}
