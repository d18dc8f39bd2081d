//! A logger for Xen's libraries that says nothing.
//!
//! Without one they print to stderr, which in a guest belongs to the user's program; every failure reaches the caller
//! as an error value anyway.

use std::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use std::sync::LazyLock;

use crate::sys::gnttab::xentoollog_logger;

struct Quiet(Box<xentoollog_logger>);

// SAFETY: the struct holds three constant function pointers, is never written after it was made, and the functions
// touch no state.
unsafe impl Sync for Quiet {}
// SAFETY: as above.
unsafe impl Send for Quiet {}

static QUIET: LazyLock<Quiet> = LazyLock::new(|| {
    Quiet(Box::new(xentoollog_logger {
        vmessage: Some(message),
        progress: Some(progress),
        destroy: Some(destroy),
    }))
});

/// The logger, untyped because each set of bindings has its own copy of the C type. It lives as long as the process.
pub(crate) fn quiet() -> *mut c_void {
    (&raw const *QUIET.0).cast_mut().cast()
}

/// Generic because `va_list` differs from one architecture to the next.
unsafe extern "C" fn message<L, V>(
    _: *mut L,
    _level: c_uint,
    _errno: c_int,
    _context: *const c_char,
    _format: *const c_char,
    _arguments: V,
) {
}

unsafe extern "C" fn progress<L>(
    _: *mut L,
    _context: *const c_char,
    _doing: *const c_char,
    _percent: c_int,
    _done: c_ulong,
    _total: c_ulong,
) {
}

unsafe extern "C" fn destroy<L>(_: *mut L) {}
