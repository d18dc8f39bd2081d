//! Finding and opening NVIDIA's library, at the first call.
//!
//! It is opened by its path, stays private to ours, and is never closed: what a move takes away is what the driver has on the GPU.
//!
//! `unsafe`: runs the initialisers of the driver's library.

use std::ffi::{CStr, OsStr, c_void};
use std::os::unix::ffi::OsStrExt;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use runtime::gate::Pass;
use runtime::vendor::{cuda, fronts};
use runtime::{locks, start};

use super::functions::{self, Functions};
use super::table;
use crate::abi::{
    CUDA_ERROR_DEINITIALIZED, CUDA_ERROR_NO_DEVICE, CUDA_ERROR_NOT_INITIALIZED, CUresult,
};

/// The name that ours stands before.
pub const NAME: &CStr = c"libcuda.so.1";

const UNOPENED: u32 = 0;
const OPEN: u32 = 1;
const NONE: u32 = 2;
/// Open, but a move has taken the driver off the GPU: its calls would wait.
const AWAY: u32 = 3;

static STATE: AtomicU32 = AtomicU32::new(UNOPENED);
static OPENING: Mutex<()> = Mutex::new(());
/// The thread that opens it.
static OPENER: AtomicI32 = AtomicI32::new(0);

runtime::at_load!(stand_before);

/// NVIDIA's own libraries open `libcuda.so.1` by name, and are to get NVIDIA's. Where this fails only they are affected, and there is no
/// log yet: they then find ours.
fn stand_before() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ours: *const c_void = stand_before as *const c_void;
        let _ = fronts::register(NAME, ours);
    });
}

/// Opens the library, at the first call of all. To be called inside the gate: no move meanwhile.
///
/// # Errors
/// `CUDA_ERROR_NO_DEVICE` where there is none, `CUDA_ERROR_DEINITIALIZED` while a move has taken it off the GPU.
#[inline]
pub fn open() -> Result<(), CUresult> {
    if STATE.load(Ordering::Acquire) == OPEN {
        return Ok(());
    }
    open_now()
}

/// [`open`] for a call that does not pass the gate otherwise. The table is filled afterwards, unless an error other than
/// `CUDA_ERROR_NO_DEVICE` says that it cannot be.
///
/// # Errors
/// [`open`]'s, and `CUDA_ERROR_NOT_INITIALIZED` in a child that was forked in the middle of a move.
pub fn open_outside() -> Result<(), CUresult> {
    if is_open() {
        return Ok(());
    }
    let _inside = start::enter(Pass::Normal).ok_or(CUDA_ERROR_NOT_INITIALIZED)?;
    open_now()
}

/// Whether a driver's library is open.
pub fn is_open() -> bool {
    [OPEN, AWAY].contains(&STATE.load(Ordering::Acquire))
}

/// The driver's calls wait from now on. The gate is closed; what comes through it nevertheless, at the program's exit, fails.
pub fn goes_away() {
    turn(OPEN, AWAY);
}

/// They do no more.
pub fn is_back() {
    turn(AWAY, OPEN);
}

fn turn(from: u32, to: u32) {
    let _ = STATE.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
}

/// For a fork: nobody opens it until this is dropped. `None` while another thread does.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    locks::try_lock(&OPENING)
}

#[cold]
fn open_now() -> Result<(), CUresult> {
    match STATE.load(Ordering::Acquire) {
        NONE => return Err(CUDA_ERROR_NO_DEVICE),
        AWAY => return Err(CUDA_ERROR_DEINITIALIZED),
        _ => (),
    }
    let this = thread();
    // Its initialisers call us.
    if OPENER.load(Ordering::Relaxed) == this {
        return Err(CUDA_ERROR_NOT_INITIALIZED);
    }
    let _opening = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    if STATE.load(Ordering::Acquire) == UNOPENED {
        OPENER.store(this, Ordering::Relaxed);
        STATE.store(load(), Ordering::Release);
        OPENER.store(0, Ordering::Relaxed);
    }
    if is_open() {
        Ok(())
    } else {
        Err(CUDA_ERROR_NO_DEVICE)
    }
}

fn thread() -> i32 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() }
}

fn load() -> u32 {
    // An initialiser that comes before ours may be the first to call.
    stand_before();
    let path = OsStr::from_bytes(fronts::real(NAME).to_bytes());
    let flags = RTLD_NOW | RTLD_LOCAL | libc::RTLD_NODELETE;
    cuda::front_opens();
    // SAFETY: the initialisers of the library that the linker would give the program.
    let library = match unsafe { Library::open(Some(path), flags) } {
        Ok(library) => library,
        Err(error) => {
            log::info!("no CUDA: {error}");
            table::fill_without_driver();
            return NONE;
        }
    };
    let find = |name: &CStr| -> *mut c_void {
        // SAFETY: only the address is taken.
        let found = unsafe { library.get::<*mut c_void>(name.to_bytes_with_nul()) };
        found.map_or(null_mut(), |found| found.into_raw())
    };
    table::fill(find);
    // SAFETY: NVIDIA's library has these functions as cuda.h says.
    functions::set(unsafe {
        Functions::load(|name| {
            let at = std::ffi::CString::new(name).expect("no name has a NUL");
            find(&at)
        })
    });
    log::debug!("the driver is {}", path.display());
    // Never closed.
    std::mem::forget(library);
    OPEN
}
