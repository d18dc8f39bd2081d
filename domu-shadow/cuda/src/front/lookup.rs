//! `cuGetProcAddress`: the driver is asked, and what it has is answered with ours.
//!
//! The driver alone knows which version of a function a name means for a version of CUDA and for a thread's own default stream. So its
//! answer decides: the function of ours that stands for the one at that very address.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::exported::OURS;
use super::unknown;
use crate::abi::{CUDA_ERROR_NOT_SUPPORTED, CUresult};
use crate::core::entry::{check, own};
use crate::driver::library;
use crate::driver::table::{self, Class, LIST, Place};

type Lookup = unsafe extern "C" fn(*const c_char, *mut *mut c_void, c_int, u64) -> CUresult;
type LookupV2 =
    unsafe extern "C" fn(*const c_char, *mut *mut c_void, c_int, u64, *mut c_int) -> CUresult;

own! {
    fn cuGetProcAddress(name: *const c_char, function: *mut *mut c_void, version: c_int, flags: u64) jump {
        let real = real(Place::cuGetProcAddress)?;
        // SAFETY: the driver's function of this name, and the program's arguments.
        unsafe {
            let real: Lookup = std::mem::transmute(real);
            check(real(name, function, version, flags))?;
            replace(name, function);
        }
        Ok(())
    }

    fn cuGetProcAddress_v2(name: *const c_char, function: *mut *mut c_void, version: c_int, flags: u64, status: *mut c_int) jump {
        let real = real(Place::cuGetProcAddress_v2)?;
        // SAFETY: as above.
        unsafe {
            let real: LookupV2 = std::mem::transmute(real);
            check(real(name, function, version, flags, status))?;
            replace(name, function);
        }
        Ok(())
    }
}

fn real(place: Place) -> Result<*mut c_void, CUresult> {
    library::open_outside()?;
    let place = place as usize;
    table::has(place)
        .then(|| table::real(place))
        .ok_or(CUDA_ERROR_NOT_SUPPORTED)
}

/// # Safety
/// Both are as the driver has taken them.
unsafe fn replace(name: *const c_char, function: *mut *mut c_void) {
    if name.is_null() || function.is_null() {
        return;
    }
    // SAFETY: the caller's word.
    unsafe {
        let found = *function;
        if !found.is_null() {
            *function = ours(CStr::from_ptr(name), found);
        }
    }
}

/// What a program gets for the driver's function.
fn ours(name: &CStr, found: *mut c_void) -> *mut c_void {
    if let Some(place) = table::place_of(found) {
        return OURS[place] as *mut c_void;
    }
    if is_harmless(name) {
        return found;
    }
    let name = name.to_string_lossy();
    log::debug!("{name}: unknown, watched");
    unknown::noting(&name, found)
}

/// Whether any version of a function of this name may go past the gate.
fn is_harmless(name: &CStr) -> bool {
    table::named(name.to_bytes()).is_some_and(|place| LIST[place].class == Class::jump)
}
