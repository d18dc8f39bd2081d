//! C functions for tests, found by `dlsym` in the loaded library. README.md shows their prototypes.

use std::ffi::{CStr, c_char};

use crate::options::{self, Options};
use crate::{call, driver, handle, loads, memory, report, thread};

/// The state of the driver as text: one `key value` per line. Writes at most `size` bytes, ended by zero, and returns
/// the size of the whole text without the zero.
///
/// # Safety
/// `text` is null or has room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xl_gpu_stub_state(text: *mut c_char, size: usize) -> usize {
    driver::check_node();
    let violations = report::violations();
    let mut lines = vec![
        format!("loads {}", loads::number()),
        format!("bytes {}", memory::used()),
        format!("threads {}", thread::running()),
        format!("violations {}", violations.len()),
    ];
    lines.extend(violations.iter().map(|text| format!("violation {text}")));
    let counted = |what, (name, count): (&str, u64)| format!("{what} {name} {count}");
    lines.extend(handle::held().into_iter().map(|one| counted("held", one)));
    lines.extend(call::counts().into_iter().map(|one| counted("calls", one)));
    let state = lines.join("\n") + "\n";
    if !text.is_null() && size > 0 {
        let len = state.len().min(size - 1);
        // SAFETY: there is room for `size` bytes, of which `len` and the zero are written.
        unsafe {
            std::ptr::copy_nonoverlapping(state.as_ptr().cast(), text, len);
            text.add(len).write(0);
        }
    }
    state.len()
}

/// Puts other options in force, forgets violations, and counts calls anew. Returns 0, or -1 for options that are wrong:
/// then nothing has changed.
///
/// # Safety
/// `options` is a C string in the syntax of `XL_GPU_STUB`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xl_gpu_stub_configure(options: *const c_char) -> i32 {
    // SAFETY: the caller's contract.
    let text = unsafe { CStr::from_ptr(options) }.to_string_lossy();
    let Ok(options) = Options::parse(&text) else {
        return -1;
    };
    options::set(options);
    report::clear();
    call::reset();
    0
}
