//! A save of a domain without GPU session: libxc's own. But a program that begins to use the GPU meanwhile would arrive
//! without its GPU state, so the suspend looks once more.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::panic::catch_unwind;

use super::messages::say;
use super::{errno, sessions};

type Suspend = unsafe extern "C" fn(*mut c_void) -> c_int;

thread_local! {
    /// The domain and libxl's own callback. All callbacks share one `data`, which stays libxl's; libxc calls them on the
    /// thread that called it.
    static PLAIN: Cell<Option<(u32, Suspend)>> = const { Cell::new(None) };
}

/// A save begins in which [`suspend`] stands for `original`.
pub fn begin(domid: u32, original: Suspend) {
    PLAIN.set(Some((domid, original)));
}

/// In front of libxl's callback. 0 makes libxc give up cleanly: the guest runs on.
///
/// # Safety
/// As libxl's callback, after [`begin`] on this thread.
pub unsafe extern "C" fn suspend(data: *mut c_void) -> c_int {
    let Some((domid, original)) = PLAIN.get() else {
        return 0;
    };
    // Before, so that the guest need not stop for nothing; after, because only then nobody can come any more.
    if session_appeared(domid) {
        errno::set(libc::ECANCELED);
        return 0;
    }
    // SAFETY: the caller's promise.
    let suspended = unsafe { original(data) };
    let error = errno::get();
    if suspended != 0 && session_appeared(domid) {
        errno::set(libc::ECANCELED);
        return 0;
    }
    errno::set(error);
    suspended
}

fn session_appeared(domid: u32) -> bool {
    let entered_with = errno::get();
    let found = catch_unwind(|| match sessions::describe(domid) {
        Ok(None) => None,
        Ok(Some(programs)) => Some(format!(
            "programs have begun to use the GPU meanwhile ({programs}); try again"
        )),
        Err(e) if sessions::is_elsewhere(&e) => None,
        Err(e) => Some(format!(
            "whether it has GPU sessions by now cannot be told: {e}"
        )),
    });
    errno::set(entered_with);
    let Some(reason) =
        found.unwrap_or_else(|_| Some("the plugin failed (a fault in xl-gpu)".into()))
    else {
        return false;
    };
    say!(
        Error,
        "domain {domid} is not suspended, it runs on: {reason}"
    );
    true
}
