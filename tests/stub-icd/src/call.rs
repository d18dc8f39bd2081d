//! What happens around every call: its count, the failures and delays that the options order for it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::ffi::CLResult;
use crate::lock::lock;
use crate::options::{self, Options};
use crate::rules::{self, Return};

/// How long a call waits for another one that `return_after` names; then it is not the driver that hangs.
const RETURN_LIMIT: Duration = Duration::from_secs(30);

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
    let options = options::in_force();
    let rules = options.returns.iter();
    let awaited = rules
        .filter(|rule| rule.function == function)
        .map(|rule| (rule, count(&rule.other)))
        .collect();
    let result = before(function, &options).and_then(|()| body());
    wait_for_calls(awaited);
    CURRENT.set(outer);
    result
}

/// Waits until each of the other functions has been called once more than before.
fn wait_for_calls(awaited: Vec<(&Return, u64)>) {
    let deadline = Instant::now() + RETURN_LIMIT;
    for (rule, before) in awaited {
        while count(&rule.other) == before && Instant::now() < deadline {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

fn before(function: &'static str, options: &Options) -> CLResult<()> {
    let mut calls = lock(&CALLS);
    let count = calls.entry(function).or_insert(0);
    *count += 1;
    let nth = *count;
    drop(calls);
    rules::sleep(&options.delays, function);
    rules::fail(&options.failures, function, nth)
}

/// How often each entry point was called in this load.
pub fn counts() -> BTreeMap<&'static str, u64> {
    lock(&CALLS).clone()
}

/// How often one entry point was called.
pub fn count(function: &str) -> u64 {
    lock(&CALLS).get(function).copied().unwrap_or(0)
}

/// Starts counting anew: the next call of each function is its first.
pub fn reset() {
    lock(&CALLS).clear();
}

/// Entry points that return a status.
macro_rules! entry_points {
    ($(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block)*) => {$(
        /// # Safety
        /// As the OpenCL specification says of the function of this name.
        #[allow(non_snake_case, clippy::too_many_arguments, reason = "the names and the arguments are OpenCL's")]
        pub unsafe extern "C" fn $name($($arg: <$ty as $crate::ffi::FromC>::C),*) -> opencl_sys::cl_int {
            // SAFETY: the caller keeps the specification's contract, which is what `from_c` wants.
            $(let $arg: $ty = unsafe { $crate::ffi::FromC::from_c($arg) };)*
            $crate::ffi::status($crate::call::run(stringify!($name), move || $body))
        }
    )*};
}

/// Entry points that return a handle or pointer and take `errcode_ret` last.
macro_rules! creators {
    ($(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block)*) => {$(
        /// # Safety
        /// As the OpenCL specification says of the function of this name.
        #[allow(non_snake_case, clippy::too_many_arguments, reason = "the names and the arguments are OpenCL's")]
        pub unsafe extern "C" fn $name(
            $($arg: <$ty as $crate::ffi::FromC>::C,)*
            errcode_ret: *mut opencl_sys::cl_int,
        ) -> *mut std::ffi::c_void {
            // SAFETY: the caller keeps the specification's contract, which is what `from_c` wants.
            $(let $arg: $ty = unsafe { $crate::ffi::FromC::from_c($arg) };)*
            // SAFETY: as above: null or room for one code.
            let code: $crate::ffi::Out<i32> = unsafe { $crate::ffi::FromC::from_c(errcode_ret) };
            let made = $crate::call::run(stringify!($name), move || $body);
            code.set(made.as_ref().err().copied().unwrap_or(opencl_sys::CL_SUCCESS));
            made.unwrap_or(std::ptr::null_mut())
        }
    )*};
}

pub(crate) use {creators, entry_points};
