//! Drivers that do not go: a library that stays mapped, a helper thread that lives on.

use std::ffi::{CStr, c_void};
use std::time::Duration;

use crate::thread;

/// Makes `dlclose` leave the library mapped, as `-z nodelete` does.
///
/// # Errors
/// Says why the library cannot find itself.
pub fn stay_mapped() -> Result<(), String> {
    // SAFETY: all zero is a valid `Dl_info`; dladdr(3) fills it for an address of this very library.
    let name = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        let here: *const c_void = (stay_mapped as fn() -> Result<(), String> as *const ()).cast();
        if libc::dladdr(here, &raw mut info) == 0 || info.dli_fname.is_null() {
            return Err("dladdr does not know this library".to_owned());
        }
        CStr::from_ptr(info.dli_fname)
    };
    // SAFETY: with RTLD_NOLOAD nothing is loaded; the flag is added to the library that is there.
    let found = unsafe {
        libc::dlopen(
            name.as_ptr(),
            libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE,
        )
    };
    if found.is_null() {
        return Err(format!(
            "{} is not loaded by that name",
            name.to_string_lossy()
        ));
    }
    // SAFETY: gives back the reference just taken; the flag stays.
    unsafe { libc::dlclose(found) };
    Ok(())
}

/// Starts a thread that sleeps in the library's code for ever. The library must stay mapped.
///
/// # Errors
/// Says that no thread can be started.
pub fn start_thread() -> Result<(), String> {
    let sleep = || loop {
        std::thread::sleep(Duration::from_secs(3600));
    };
    thread::spawn_detached(Box::new(sleep)).map_err(|code| format!("no thread: error {code}"))
}
