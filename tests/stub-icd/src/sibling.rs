//! A library of the same vendor, opened by name: as NVIDIA's OpenCL opens `libcuda.so.1`.

use std::ffi::{CString, c_int, c_void};

/// Opens it, and calls its function in all the ways by which it can be found. It stays open.
///
/// # Errors
/// Says what is not found.
pub fn call(name: &str) -> Result<(), String> {
    let name = CString::new(name).map_err(|_| "opens: a zero in the name")?;
    for flags in [
        libc::RTLD_NOW | libc::RTLD_GLOBAL,
        libc::RTLD_NOW | libc::RTLD_NOLOAD,
    ] {
        // SAFETY: a C string; the test says which library it is.
        let library = unsafe { libc::dlopen(name.as_ptr(), flags) };
        if library.is_null() {
            return Err(format!("{} cannot be opened", name.to_string_lossy()));
        }
        version(library)?;
    }
    version(libc::RTLD_DEFAULT)
}

fn version(library: *mut c_void) -> Result<(), String> {
    // SAFETY: a handle of the linker's, or the one for the whole process; a C string.
    let function = unsafe { libc::dlsym(library, c"cuDriverGetVersion".as_ptr()) };
    if function.is_null() {
        return Err("there is no cuDriverGetVersion".to_owned());
    }
    // SAFETY: `cuda.h` gives the function this prototype.
    let function: unsafe extern "C" fn(*mut c_int) -> c_int =
        unsafe { std::mem::transmute(function) };
    let mut version = 0;
    // SAFETY: writes one number.
    unsafe { function(&raw mut version) };
    Ok(())
}
