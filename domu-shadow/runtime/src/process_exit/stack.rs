//! Whether `exit` is among the functions that have called this one.
//!
//! `unsafe`: asks the unwinder for return addresses, and the linker where the function is.

use std::ffi::{c_char, c_int, c_void};
use std::ops::Range;
use std::ptr::null_mut;
use std::sync::OnceLock;

/// dladdr1(3)
const RTLD_DL_SYMENT: c_int = 1;

unsafe extern "C" {
    fn dladdr1(
        address: *const c_void,
        info: *mut libc::Dl_info,
        symbol: *mut *mut libc::Elf64_Sym,
        flags: c_int,
    ) -> c_int;
    // Itanium C++ ABI 1.6: the unwinder, which every Rust library has.
    fn _Unwind_Backtrace(
        look: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}

struct Seek {
    function: Range<usize>,
    found: bool,
}

pub(super) fn is_in_exit() -> bool {
    static EXIT: OnceLock<Range<usize>> = OnceLock::new();
    let function = EXIT
        .get_or_init(|| libc_function(c"exit".as_ptr()).unwrap_or(0..0))
        .clone();
    let mut seek = Seek {
        function,
        found: false,
    };
    // SAFETY: `look` gets the pointer to `seek`, which outlives the call.
    unsafe { _Unwind_Backtrace(look, (&raw mut seek).cast()) };
    seek.found
}

extern "C" fn look(context: *mut c_void, seek: *mut c_void) -> c_int {
    const NO_REASON: c_int = 0;
    // SAFETY: the unwinder's own context, and what `is_in_exit` passed.
    let (returns_to, seek) = unsafe { (_Unwind_GetIP(context), &mut *seek.cast::<Seek>()) };
    // It calls a function that never returns: the call may be its last instruction.
    seek.found |= seek.function.contains(&returns_to.wrapping_sub(1));
    NO_REASON
}

/// Where the C library's own function is, not one that stands before it.
fn libc_function(name: *const c_char) -> Option<Range<usize>> {
    // SAFETY: with RTLD_NOLOAD this only looks for a library that is mapped; `info` and `symbol` have room for the answers.
    unsafe {
        let library = libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD);
        if library.is_null() {
            return None;
        }
        let start = libc::dlsym(library, name);
        libc::dlclose(library);
        let mut info: libc::Dl_info = std::mem::zeroed();
        let mut symbol: *mut libc::Elf64_Sym = null_mut();
        let known = dladdr1(start, &raw mut info, &raw mut symbol, RTLD_DL_SYMENT) != 0;
        let size = symbol.as_ref().filter(|_| known)?.st_size as usize;
        Some(start as usize..start as usize + size)
    }
}
