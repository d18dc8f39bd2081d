//! Who in the process uses NVIDIA's driver library, and whether that goes through ours.
//!
//! The library has CUDA's driver API and, for NVIDIA's OpenCL, the device's descriptors: a program that came to CUDA after OpenCL
//! cannot be told by them. But the driver API wants to be initialised (`cuInit`), which NVIDIA's OpenCL does not do (580.159). A
//! program does it through ours, or past ours where it has opened the library by another name or a path of its own.
//!
//! Once it has come through ours the driver is asked nothing here: in the middle of a move every call of its waits.
//!
//! `unsafe`: calls one function of a library that is mapped.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_NOW};

use super::family::FAMILY_NODES;
use super::fronts;
use super::paths::file_name;
use super::snapshot::{Snapshot, is_other_node};

/// Of the driver's library.
const NAME: &CStr = c"libcuda.so.1";

/// `cuda.h`: the answer of every call before `cuInit`.
const CUDA_ERROR_NOT_INITIALIZED: c_int = 3;

/// Through ours, with success.
static IS_INITIALISED: AtomicBool = AtomicBool::new(false);
static IS_OPEN: AtomicBool = AtomicBool::new(false);
/// NVIDIA's OpenCL was seen to initialise it: whether the program does cannot be told.
static IS_OPENCLS: AtomicBool = AtomicBool::new(false);

/// Nobody has initialised it through ours.
const UNUSED: u8 = 0;
/// A thread finds out which of the two it is.
const LOOKING: u8 = 1;
/// Everybody has.
const THROUGH: u8 = 2;
/// Somebody had been there before, another way.
const BESIDE: u8 = 3;
static USE: AtomicU8 = AtomicU8::new(UNUSED);

/// Our library is about to open the driver's.
pub fn front_opens() {
    IS_OPEN.store(true, Ordering::Release);
}

/// Whether ours has opened it: then it stays mapped.
pub(super) fn is_open() -> bool {
    IS_OPEN.load(Ordering::Acquire)
}

/// Our library is about to initialise the driver for the program: to be called inside the gate, before each `cuInit`.
pub fn front_initialises() {
    let first = USE.compare_exchange(UNUSED, LOOKING, Ordering::AcqRel, Ordering::Acquire);
    if first.is_ok() {
        let others = !IS_OPENCLS.load(Ordering::Acquire) && is_initialised();
        USE.store(if others { BESIDE } else { THROUGH }, Ordering::Release);
    }
    // What another thread finds must not be the initialisation of this one.
    while USE.load(Ordering::Acquire) == LOOKING {
        std::thread::yield_now();
    }
}

/// The driver's answer to that was a good one.
pub fn front_initialised() {
    IS_INITIALISED.store(true, Ordering::Release);
}

/// Whether the program has initialised CUDA through ours.
pub fn is_through_front() -> bool {
    IS_INITIALISED.load(Ordering::Acquire)
}

/// Whether something is known to use CUDA past ours. `has_opencl`: NVIDIA's OpenCL is loaded, so that it matters.
pub(super) fn is_used_past_front(has_opencl: bool) -> bool {
    match USE.load(Ordering::Acquire) {
        BESIDE => true,
        UNUSED => has_opencl && !IS_OPENCLS.load(Ordering::Acquire) && is_initialised(),
        _ => false,
    }
}

/// In a child of `fork`: the thread that was finding out is not there.
pub(super) fn forget_looking_in_child() {
    let _ = USE.compare_exchange(LOOKING, UNUSED, Ordering::AcqRel, Ordering::Acquire);
}

/// Whether a use past ours would be seen.
pub(super) fn is_told_apart() -> bool {
    is_through_front() || !IS_OPENCLS.load(Ordering::Acquire)
}

/// For a call in which NVIDIA's OpenCL may initialise the driver; dropped after it.
pub(super) struct Watch {
    was_initialised: bool,
}

impl Watch {
    pub(super) fn begin() -> Watch {
        let was_initialised = USE.load(Ordering::Acquire) != UNUSED || is_initialised();
        Watch { was_initialised }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.was_initialised && USE.load(Ordering::Acquire) == UNUSED && is_initialised() {
            IS_OPENCLS.store(true, Ordering::Release);
        }
    }
}

static NODES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The driver's device nodes that the process has, or has been seen to have: nothing is open in the middle of a move.
pub(super) fn nodes(now: &Snapshot) -> BTreeSet<PathBuf> {
    let mut nodes = NODES.lock().unwrap_or_else(PoisonError::into_inner);
    nodes.extend(now.devices().filter(|path| is_node(path)).cloned());
    nodes.clone()
}

/// Whether a path is one of the driver's device nodes.
pub(super) fn is_node(path: &Path) -> bool {
    path.to_string_lossy().starts_with(FAMILY_NODES) || is_other_node(path)
}

/// The driver's library, for people.
pub(super) fn name() -> String {
    match fronts::stands_before(NAME) {
        true => format!(
            "CUDA ({}, initialised by the program itself)",
            fronts::real(NAME).to_string_lossy()
        ),
        false => "CUDA (initialised by the program)".to_owned(),
    }
}

/// Libraries of that name that are mapped beside the driver's and ours: of another version, say.
pub(super) fn others(now: &Snapshot) -> BTreeSet<PathBuf> {
    if !fronts::stands_before(NAME) {
        return BTreeSet::new();
    }
    let real = Path::new(OsStr::from_bytes(fronts::real(NAME).to_bytes()));
    let real = real.canonicalize().unwrap_or_default();
    // After an upgrade what is mapped has no file, and may be the driver's.
    let is_gone = |path: &Path| path.to_string_lossy().ends_with(" (deleted)");
    let is_other = |path: &&PathBuf| {
        let is_named_so = file_name(path).starts_with("libcuda.so");
        is_named_so && **path != real && !is_gone(path)
    };
    let paths = now.mappings.iter().map(|mapping| &mapping.path);
    paths.filter(is_other).cloned().collect()
}

/// Whether somebody in this process has initialised the CUDA driver API.
fn is_initialised() -> bool {
    let name = OsStr::from_bytes(fronts::real(NAME).to_bytes());
    // SAFETY: with RTLD_NOLOAD this only looks for a library that is mapped; no code of it runs.
    let library = unsafe { Library::open(Some(name), RTLD_NOW | libc::RTLD_NOLOAD) };
    let Ok(library) = library else { return false };
    // SAFETY: `cuda.h` gives this symbol this prototype.
    let count =
        unsafe { library.get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cuDeviceGetCount\0") };
    let mut devices = 0;
    // SAFETY: writes one number; may be called at any time, on any thread.
    count.is_ok_and(|count| unsafe { count(&raw mut devices) } != CUDA_ERROR_NOT_INITIALIZED)
}
