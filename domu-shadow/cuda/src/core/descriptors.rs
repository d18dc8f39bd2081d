//! Whether two descriptors are one file.

use std::ffi::{c_int, c_long};

/// `KCMP_FILE`.
const FILE: c_int = 0;

fn kcmp(one: c_int, other: c_int) -> c_long {
    let pid = std::process::id() as c_long;
    // SAFETY: no pointers; what is no descriptor is an error.
    unsafe {
        libc::syscall(
            libc::SYS_kcmp,
            pid,
            pid,
            c_long::from(FILE),
            c_long::from(one),
            c_long::from(other),
        )
    }
}

/// Whether a descriptor is the same file as one of these, which are forgotten where they have been closed. False where the kernel
/// does not say.
pub fn is_one_of(descriptor: c_int, known: &mut Vec<c_int>) -> bool {
    known.retain(|known| kcmp(*known, *known) == 0);
    known.iter().any(|known| kcmp(*known, descriptor) == 0)
}
