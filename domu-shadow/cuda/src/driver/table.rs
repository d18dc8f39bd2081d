//! Where the driver has the functions of the [list](super::list).

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::list::functions;
use crate::abi::*;

/// What ours does before the driver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(non_camel_case_types, reason = "as in the list")]
pub enum Class {
    jump,
    driver,
    contents,
    mark,
    own,
}

/// One function of the list.
#[derive(Debug)]
pub struct Listed {
    pub name: &'static CStr,
    pub class: Class,
    /// Of a mark: what the program uses with it.
    pub why: &'static str,
}

macro_rules! table {
    ($($class:ident $name:ident($($abi:tt)*) $($why:literal)?;)*) => {
        /// Places in the list.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[allow(dead_code, reason = "most of ours are called by their types, see `functions`")]
        #[repr(u32)]
        pub(crate) enum Place { $($name,)* }

        /// The list, sorted by name.
        pub const LIST: &[Listed] = &[$(Listed {
            name: match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => panic!(),
            },
            class: Class::$class,
            why: concat!($($why)?),
        },)*];
    };
}

functions!(table);

/// The driver's functions, in the list's order; NULL until the library is opened, never afterwards.
pub(crate) static TABLE: [AtomicPtr<c_void>; LIST.len()] =
    [const { AtomicPtr::new(null_mut()) }; LIST.len()];

/// Addresses of the driver's with places in the list, sorted.
static BY_ADDRESS: OnceLock<Vec<(usize, usize)>> = OnceLock::new();

/// Fills the table. Once.
pub(super) fn fill(find: impl Fn(&CStr) -> *mut c_void) {
    let mut by_address = Vec::with_capacity(LIST.len());
    for (place, listed) in LIST.iter().enumerate() {
        let address = find(listed.name);
        if !address.is_null() {
            by_address.push((address.addr(), place));
        }
        let or_missing = if address.is_null() {
            missing as *mut c_void
        } else {
            address
        };
        TABLE[place].store(or_missing, Ordering::Release);
    }
    by_address.sort_unstable();
    let _ = BY_ADDRESS.set(by_address);
}

/// Fills the table where there is no driver.
pub(super) fn fill_without_driver() {
    for (listed, entry) in LIST.iter().zip(&TABLE) {
        let function = match listed.name.to_bytes() {
            b"cuGetErrorName" => no_error_name as *mut c_void,
            b"cuGetErrorString" => no_error_string as *mut c_void,
            _ => no_device as *mut c_void,
        };
        entry.store(function, Ordering::Release);
    }
}

/// The driver's function of this place, once the library is open.
pub fn real(place: usize) -> *mut c_void {
    TABLE[place].load(Ordering::Relaxed)
}

/// Whether the driver has the function of this place.
pub fn has(place: usize) -> bool {
    let all = BY_ADDRESS.get().map_or(&[][..], Vec::as_slice);
    all.binary_search(&(real(place).addr(), place)).is_ok()
}

/// The place of the driver's function at this address. Of several, that whose function of ours does most.
pub fn place_of(address: *const c_void) -> Option<usize> {
    let all = BY_ADDRESS.get()?;
    let first = all.partition_point(|&(at, _)| at < address.addr());
    let these = all[first..]
        .iter()
        .take_while(|&&(at, _)| at == address.addr());
    these
        .map(|&(_, place)| place)
        .max_by_key(|&place| LIST[place].class)
}

/// The place of a name.
pub fn named(name: &[u8]) -> Option<usize> {
    LIST.binary_search_by(|listed| listed.name.to_bytes().cmp(name))
        .ok()
}

/// Of functions that the driver does not have.
extern "C" fn missing() -> CUresult {
    CUDA_ERROR_NOT_SUPPORTED
}

extern "C" fn no_device() -> CUresult {
    CUDA_ERROR_NO_DEVICE
}

/// Programs say what the code means that every other function gives them.
unsafe extern "C" fn no_error_name(code: CUresult, name: *mut *const c_char) -> CUresult {
    // SAFETY: the caller's, as cuGetErrorName wants it.
    unsafe { tell(code, name, [c"CUDA_SUCCESS", c"CUDA_ERROR_NO_DEVICE"]) }
}

unsafe extern "C" fn no_error_string(code: CUresult, text: *mut *const c_char) -> CUresult {
    // SAFETY: the caller's, as cuGetErrorString wants it.
    unsafe {
        tell(
            code,
            text,
            [c"no error", c"no CUDA-capable device is detected"],
        )
    }
}

/// # Safety
/// `to` is NULL or may be written.
unsafe fn tell(code: c_int, to: *mut *const c_char, texts: [&'static CStr; 2]) -> CUresult {
    let (text, answer) = match code {
        CUDA_SUCCESS => (texts[0].as_ptr(), CUDA_SUCCESS),
        CUDA_ERROR_NO_DEVICE => (texts[1].as_ptr(), CUDA_SUCCESS),
        _ => (std::ptr::null(), CUDA_ERROR_INVALID_VALUE),
    };
    if to.is_null() {
        return CUDA_ERROR_INVALID_VALUE;
    }
    // SAFETY: as said above.
    unsafe { to.write(text) };
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(LIST.is_sorted_by(|a, b| a.name.to_bytes() < b.name.to_bytes()));
        assert_eq!(
            named(b"cuLaunchKernel").map(|at| LIST[at].class),
            Some(Class::contents)
        );
        assert_eq!(named(b"cuNothing"), None);
    }
}
