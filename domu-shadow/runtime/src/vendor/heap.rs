//! Memory of the process's allocator that a driver forgets when it is closed.
//!
//! NVIDIA's (580.159) leaves tables of 3.5 MB behind at each load, all of them allocated by its OpenCL library. Large pieces that this
//! library allocates are noted until its family frees them, by way of the addresses through which these libraries call the
//! allocator ([`super::relocations`]); what is still noted when none of them is mapped any more is freed.
//!
//! So a noted piece must not be freed by anybody else. Tables of that size stay in the library; what it gives away (to the
//! program, as a thread's own value, to the C library) is small.
//!
//! `unsafe`: stands in for functions of the C library.

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::paths::file_name;
use super::relocations::{Held, Replacement};

/// Bytes from which on a piece is noted. The tables have 128 KiB to 2.6 MiB.
const LEAST: usize = 64 << 10;

/// In a child of `fork` another thread may have had the lock, and nothing is given back.
static OFF: AtomicBool = AtomicBool::new(false);

static NOTED: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// How many noted pieces there are by a hash of their address: `free` takes the lock only where there is one.
static COUNTS: [AtomicU32; 1024] = [const { AtomicU32::new(0) }; 1024];

/// In a child of `fork`: from now on nothing is noted or freed.
pub fn stop_in_child() {
    OFF.store(true, Ordering::Relaxed);
}

fn is_off() -> bool {
    OFF.load(Ordering::Relaxed)
}

fn noted() -> MutexGuard<'static, BTreeSet<usize>> {
    NOTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(piece: usize) -> &'static AtomicU32 {
    // Fibonacci hashing: the upper 10 bits of the product.
    &COUNTS[(piece as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) as usize >> 54]
}

fn note(piece: *mut c_void, size: usize) {
    if size >= LEAST && !is_off() && !piece.is_null() && noted().insert(piece as usize) {
        count(piece as usize).fetch_add(1, Ordering::Relaxed);
    }
}

/// Before it is freed: its address can be another's at once. True if it was noted.
fn forget(piece: *mut c_void) -> bool {
    let piece = piece as usize;
    // Relaxed: who frees a piece has got it from whom it was noted for.
    let was = count(piece).load(Ordering::Relaxed) > 0 && !is_off() && noted().remove(&piece);
    if was {
        count(piece).fetch_sub(1, Ordering::Relaxed);
    }
    was
}

unsafe extern "C" fn noting_malloc(size: usize) -> *mut c_void {
    // SAFETY: malloc(3).
    let piece = unsafe { libc::malloc(size) };
    note(piece, size);
    piece
}

unsafe extern "C" fn noting_calloc(members: usize, size: usize) -> *mut c_void {
    // SAFETY: malloc(3).
    let piece = unsafe { libc::calloc(members, size) };
    note(piece, members.saturating_mul(size));
    piece
}

unsafe extern "C" fn noting_realloc(old: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: as malloc(3) demands.
    unsafe {
        if old.is_null() {
            return noting_malloc(size);
        }
        following_realloc(old, size)
    }
}

/// What was noted stays noted; nothing else is.
unsafe extern "C" fn following_realloc(old: *mut c_void, size: usize) -> *mut c_void {
    let was_noted = forget(old);
    // SAFETY: `old` is the caller's, as malloc(3) demands.
    let piece = unsafe { libc::realloc(old, size) };
    if was_noted {
        match piece.is_null() && size > 0 {
            true => note(old, LEAST), // it stays as it was
            false => note(piece, size),
        }
    }
    piece
}

unsafe extern "C" fn following_free(piece: *mut c_void) {
    forget(piece);
    // SAFETY: `piece` is the caller's, as malloc(3) demands.
    unsafe { libc::free(piece) };
}

unsafe extern "C" {
    /// getline(3), under the name that libraries call it by.
    fn __getdelim(
        line: *mut *mut c_char,
        room: *mut usize,
        delimiter: c_int,
        file: *mut libc::FILE,
    ) -> isize;
}

unsafe extern "C" fn following_getdelim(
    line: *mut *mut c_char,
    room: *mut usize,
    delimiter: c_int,
    file: *mut libc::FILE,
) -> isize {
    // SAFETY: as getline(3) demands; the library may move the line, and from then on it is not noted any more.
    unsafe {
        if let Some(&line) = line.as_ref() {
            forget(line.cast());
        }
        __getdelim(line, room, delimiter, file)
    }
}

/// Those that take a piece away first: noted must be only what they would see.
fn replacements(allocates: bool) -> Vec<Replacement> {
    let realloc: *mut c_void = match allocates {
        true => noting_realloc as *mut c_void,
        false => following_realloc as *mut c_void,
    };
    let mut all: Vec<Replacement> = vec![
        (
            c"free",
            libc::free as *mut c_void,
            following_free as *mut c_void,
        ),
        (c"realloc", libc::realloc as *mut c_void, realloc),
        (
            c"__getdelim",
            __getdelim as *mut c_void,
            following_getdelim as *mut c_void,
        ),
    ];
    if allocates {
        all.push((
            c"calloc",
            libc::calloc as *mut c_void,
            noting_calloc as *mut c_void,
        ));
        all.push((
            c"malloc",
            libc::malloc as *mut c_void,
            noting_malloc as *mut c_void,
        ));
    }
    all
}

/// What else frees or moves a caller's piece. NVIDIA's libraries use none of them; one that does is not watched.
const OTHERS: [&CStr; 4] = [c"getline", c"getdelim", c"reallocarray", c"cfree"];

/// Notes from now on what those libraries of `family` allocate whose file names `allocates` accepts, until the family frees it. One
/// thread at a time.
pub(super) fn watch(family: &Held, allocates: impl Fn(&str) -> bool) {
    let libraries = family.libraries().into_iter();
    let (drivers, others): (Vec<_>, Vec<_>) =
        libraries.partition(|library| allocates(file_name(Path::new(&library.path))));
    // All that may free comes first.
    for (libraries, allocate) in [(others, false), (drivers, true)] {
        for library in libraries {
            if library.looks_up(&OTHERS) || !library.redirect(&replacements(allocate)) {
                log::debug!("{}: its use of the allocator is not watched", library.path);
                return;
            }
        }
    }
}

/// Frees what libraries that were watched have left: none may be mapped any more. Number of pieces.
pub(super) fn free_forgotten() -> usize {
    if is_off() {
        return 0;
    }
    let left = std::mem::take(&mut *noted());
    for &piece in &left {
        count(piece).fetch_sub(1, Ordering::Relaxed);
        // SAFETY: allocated by code that is gone without freeing it; nothing that is left knows of it.
        unsafe { libc::free(std::ptr::with_exposed_provenance_mut(piece)) };
    }
    left.len()
}
