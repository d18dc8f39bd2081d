//! Functions of the driver's that are not in the list: newer than it, or nowhere documented.
//!
//! Programs ask for many more than they call. So what they get is a jump to the driver's that notes that it was taken.
//!
//! `unsafe`: assembly.

use std::arch::global_asm;
use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many different functions can be told apart.
const MOST: usize = 512;
/// Bytes of a jump.
const JUMP: usize = 16;

static USED: [AtomicU8; MOST] = [const { AtomicU8::new(0) }; MOST];
static TARGETS: [AtomicPtr<c_void>; MOST] = [const { AtomicPtr::new(std::ptr::null_mut()) }; MOST];
/// Names as they were asked for first, in the order of the jumps.
static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());

global_asm!(
    ".pushsection .text.xl_gpu_unknown, \"ax\", @progbits",
    ".balign {jump}",
    ".hidden xl_gpu_unknown",
    ".globl xl_gpu_unknown",
    "xl_gpu_unknown:",
    ".set xl_gpu_at, 0",
    ".rept {most}",
    ".balign {jump}",
    "mov byte ptr [rip + {used} + xl_gpu_at], 1",
    "jmp [rip + {targets} + 8 * xl_gpu_at]",
    ".set xl_gpu_at, xl_gpu_at + 1",
    ".endr",
    ".popsection",
    jump = const JUMP,
    most = const MOST,
    used = sym USED,
    targets = sym TARGETS,
);

unsafe extern "C" {
    #[link_name = "xl_gpu_unknown"]
    static JUMPS: [[u8; JUMP]; MOST];
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<std::sync::MutexGuard<'static, impl Sized>> {
    runtime::locks::try_lock(&NAMES)
}

/// A function that does what the driver's does, and notes that it was called; the driver's itself where there are too many.
pub fn noting(name: &str, driver: *mut c_void) -> *mut c_void {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let known = TARGETS[..names.len()]
        .iter()
        .position(|target| target.load(Ordering::Relaxed) == driver);
    let at = known.unwrap_or(names.len());
    if at == MOST {
        log::warn!(
            "{name}: an unknown function of CUDA's is not watched, {MOST} others are: whether the program can still be moved once it \
             has called it is not known"
        );
        return driver;
    }
    if known.is_none() {
        TARGETS[at].store(driver, Ordering::Release);
        names.push(name.to_owned());
    }
    // SAFETY: within the jumps; only the address is taken.
    unsafe { (&raw const JUMPS[at]).cast_mut().cast() }
}

/// Why the process cannot be moved, once one of them has been called.
pub fn used() -> Option<String> {
    let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let called = USED.iter().map(|used| used.load(Ordering::Relaxed) != 0);
    let (name, _) = names.iter().zip(called).find(|(_, called)| *called)?;
    Some(format!(
        "the program has called {name}, a function of CUDA's that this version of xl-gpu does not know"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_watched_is_the_drivers_own() {
        let drivers = |at: usize| std::ptr::without_provenance_mut(at + 1);
        let watched: Vec<_> = (0..MOST).map(|at| noting("cuSome", drivers(at))).collect();
        assert!((0..MOST).all(|at| watched[at] == noting("cuSame", drivers(at))));
        assert!(
            watched
                .windows(2)
                .all(|two| two[0].addr() + JUMP == two[1].addr())
        );
        assert_eq!(noting("cuMore", drivers(MOST)), drivers(MOST));
    }
}
