//! Functions by name and version.
//!
//! | room | purpose |
//! |---|---|
//! | [`versions`] | since when each function has been there |

use std::ffi::{CString, c_void};
use std::sync::OnceLock;

use crate::options::in_force;

mod versions;

/// What a search gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Found(*mut c_void),
    NotFound,
    /// There is one, but not for this version.
    TooNew,
}

/// First driver with the checkpoint functions.
const CHECKPOINTS: &str = "cuCheckpoint";

/// The function of a name for a version, with per-thread default streams or without.
pub fn find(name: &str, version: i32, per_thread: bool) -> Answer {
    let Ok(nth) = versions::KNOWN.binary_search_by(|known| known.name.cmp(name)) else {
        return Answer::NotFound;
    };
    if in_force().no_checkpoint && name.starts_with(CHECKPOINTS) {
        return Answer::NotFound;
    }
    let known = &versions::KNOWN[nth];
    let newest = |list: &[(i32, &'static str)]| {
        let mut fitting = list.iter().rev().filter(|(since, _)| *since <= version);
        fitting.next().map(|(_, symbol)| *symbol)
    };
    let symbol = per_thread
        .then(|| newest(known.per_thread))
        .flatten()
        .or_else(|| newest(known.legacy));
    match symbol.map(address) {
        None => Answer::TooNew,
        Some(address) if address.is_null() => Answer::NotFound,
        Some(address) => Answer::Found(address),
    }
}

/// The address of one of this library's own symbols.
fn address(symbol: &str) -> *mut c_void {
    let name = CString::new(symbol).unwrap_or_default();
    // SAFETY: dlsym(3) of a handle of this library, which is never closed.
    unsafe {
        libc::dlsym(
            std::ptr::with_exposed_provenance_mut(own_handle()),
            name.as_ptr(),
        )
    }
}

/// A handle of this library; 0 where it is linked into a program.
fn own_handle() -> usize {
    static HANDLE: OnceLock<usize> = OnceLock::new();
    *HANDLE.get_or_init(|| {
        let own: *const () = find as *const ();
        // SAFETY: all zero is a value of it.
        let mut found: libc::Dl_info = unsafe { std::mem::zeroed() };
        // SAFETY: dladdr(3) of our own code; the name that it gives lives as long as we.
        let handle = unsafe {
            if libc::dladdr(own.cast(), &raw mut found) == 0 {
                return 0;
            }
            libc::dlopen(found.dli_fname, libc::RTLD_NOW | libc::RTLD_NOLOAD)
        };
        handle.expose_provenance()
    })
}
