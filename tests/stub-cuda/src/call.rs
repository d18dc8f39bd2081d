//! What happens around every call: the gate, the count, the log, and the failures and delays that the options order.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;

use crate::abi::*;
use crate::gate;
use crate::lock::lock;
use crate::options::in_force;

/// What a function needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it answers at any time, also while the process is locked.
    Nothing,
    /// `cuInit`, and a process that is not locked.
    Driver,
}

/// The stream that NULL stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    Legacy,
    PerThread,
}

impl Default {
    /// The stream of a handle that may be NULL.
    pub fn stream(self, handle: Handle) -> Handle {
        match (handle, self) {
            (0, Default::Legacy) => CU_STREAM_LEGACY,
            (0, Default::PerThread) => CU_STREAM_PER_THREAD,
            _ => handle,
        }
    }
}

static INITIALIZED: AtomicBool = AtomicBool::new(false);
static FORKED: AtomicBool = AtomicBool::new(false);
static COUNTS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());
static ALL: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

extern "C" fn forked() {
    FORKED.store(true, Ordering::Relaxed);
}

/// `cuInit` has succeeded.
pub fn set_initialized() {
    if !INITIALIZED.swap(true, Ordering::SeqCst) {
        // SAFETY: the handler only stores into an atomic.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    }
}

/// Whether the driver can be used: initialised, and not by a parent process.
///
/// # Errors
/// `CUDA_ERROR_NOT_INITIALIZED`.
pub fn initialized() -> Outcome<()> {
    match INITIALIZED.load(Ordering::SeqCst) && !is_forked() {
        true => Ok(()),
        false => Err(CUDA_ERROR_NOT_INITIALIZED),
    }
}

/// Whether a parent process had initialised the driver.
pub fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Runs a function of the program, from which no function of the driver may be called.
pub fn callback(function: impl FnOnce()) {
    IN_CALLBACK.set(true);
    function();
    IN_CALLBACK.set(false);
}

/// Runs an entry point's body.
///
/// Not generic: it would be compiled once for each of some 400 functions.
pub fn run(name: &'static str, needs: Needs, body: &mut dyn FnMut() -> Outcome<()>) -> CUresult {
    let result = catch_unwind(AssertUnwindSafe(|| around(name, needs, body)));
    let code = match result {
        Ok(result) => result.err().unwrap_or(CUDA_SUCCESS),
        Err(_) => {
            eprintln!("stub libcuda: {name} panicked");
            CUDA_ERROR_UNKNOWN
        }
    };
    note(name, code);
    code
}

fn around(name: &'static str, needs: Needs, body: &mut dyn FnMut() -> Outcome<()>) -> Outcome<()> {
    let own = {
        let mut counts = lock(&COUNTS);
        let count = counts.entry(name).or_insert(0);
        *count += 1;
        *count
    };
    let all = ALL.fetch_add(1, Ordering::Relaxed) + 1;
    let _inside = match needs {
        Needs::Nothing => None,
        Needs::Driver if IN_CALLBACK.get() => return Err(CUDA_ERROR_NOT_PERMITTED),
        Needs::Driver => {
            initialized()?;
            Some(gate::enter())
        }
    };
    let options = in_force();
    for time in options.delays.iter().filter_map(|rule| rule.of(name)) {
        note(&format!("slow:{name}"), CUDA_SUCCESS);
        thread::sleep(time);
    }
    let mut failures = options.failures.iter();
    match failures.find_map(|rule| rule.of(name, own, all)) {
        Some(code) => Err(code),
        None => body(),
    }
}

/// A line of the log: process, thread, function, answer.
pub fn note(name: &str, code: CUresult) {
    static LOG: OnceLock<Option<File>> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let path = in_force().log.as_ref()?;
        let file = OpenOptions::new().append(true).create(true).open(path);
        file.inspect_err(|error| eprintln!("stub libcuda: {}: {error}", path.display()))
            .ok()
    });
    if let Some(mut log) = log.as_ref() {
        // SAFETY: gettid(2) has no preconditions.
        let thread = unsafe { libc::gettid() };
        let line = format!("{}\t{thread}\t{name}\t{code}\n", std::process::id());
        let _ = log.write_all(line.as_bytes());
    }
}

/// Entry points. `fn cuX | cuX_ptsz (…) |default| { … }` also makes the function of per-thread default streams. A body
/// in `free { … }` needs nothing.
macro_rules! entry_points {
    (free $(
        fn $name:ident ($($args:tt)*) $body:block
    )*) => {$(
        $crate::call::entry_points!(@one Nothing, $name, Legacy, ($($args)*), [], $body);
    )*};
    ($(
        fn $name:ident $(| $per_thread:ident)? ($($args:tt)*) $(|$default:ident|)? $body:block
    )*) => {$(
        $crate::call::entry_points!(@pair $name, [$($per_thread)?], ($($args)*), [$($default)?], $body);
    )*};
    (@pair $name:ident, [], $args:tt, $default:tt, $body:block) => {
        $crate::call::entry_points!(@one Driver, $name, Legacy, $args, $default, $body);
    };
    (@pair $name:ident, [$per_thread:ident], $args:tt, $default:tt, $body:block) => {
        $crate::call::entry_points!(@one Driver, $name, Legacy, $args, $default, $body);
        $crate::call::entry_points!(@one Driver, $per_thread, PerThread, $args, $default, $body);
    };
    (@one $needs:ident, $name:ident, $stream:ident, ($($arg:ident: $ty:ty),* $(,)?), [$($default:ident)?], $body:block) => {
        /// # Safety
        /// As cuda.h says of the function of this name.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case, clippy::too_many_arguments, reason = "the names and the arguments are CUDA's")]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> $crate::abi::CUresult {
            $(let $default = $crate::call::Default::$stream;)?
            $crate::call::run(stringify!($name), $crate::call::Needs::$needs, &mut move || $body)
        }
    };
}

pub(crate) use entry_points;
