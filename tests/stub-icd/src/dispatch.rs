//! The dispatch table that every handle starts with; or, with `icd2`, the tag of `cl_khr_icd` 2.0 in its place.

use std::ffi::c_void;
use std::mem::offset_of;
use std::sync::OnceLock;

use opencl_sys::cl_icd::cl_icd_dispatch;

use crate::entries::entries;
use crate::options;

/// Every entry absent: sharing with graphics APIs stays so.
// SAFETY: the table holds only `Option<fn>` (zero is `None`) and integers.
pub const EMPTY: cl_icd_dispatch = unsafe { std::mem::zeroed() };

/// `CL_ICD2_TAG_KHR` (cl_ext.h).
const ICD2_TAG: usize = 0x4F50_454E_434C_3331;

/// Makes the table of an OpenCL version, (major, minor).
pub type Build = fn((u32, u32)) -> cl_icd_dispatch;

static BUILD: OnceLock<Build> = OnceLock::new();
static TABLE: OnceLock<cl_icd_dispatch> = OnceLock::new();
static TAGGED: OnceLock<cl_icd_dispatch> = OnceLock::new();

/// Sets who makes the table. Entry points use handles, so what handles rest on cannot name them.
pub fn set_build(build: Build) {
    BUILD.get_or_init(|| build);
}

/// The table; later entries than the pretended OpenCL version has are absent.
fn table() -> &'static cl_icd_dispatch {
    TABLE.get_or_init(|| {
        let build = BUILD.get().expect("set when the library is mapped");
        build(options::in_force().spec)
    })
}

/// What handles start with: all entries, or with `icd2` none but the two tags.
pub fn of_handles() -> &'static cl_icd_dispatch {
    if !options::in_force().icd2 {
        return table();
    }
    TAGGED.get_or_init(|| {
        let mut table = EMPTY;
        for offset in [
            offset_of!(cl_icd_dispatch, clGetPlatformIDs),
            offset_of!(cl_icd_dispatch, clUnloadCompiler),
        ] {
            // SAFETY: a function pointer is there, for which no value but null is wrong as long as nobody calls it.
            unsafe {
                (&raw mut table)
                    .byte_add(offset)
                    .cast::<usize>()
                    .write(ICD2_TAG)
            };
        }
        table
    })
}

macro_rules! by_name {
    ($(($major:literal, $minor:literal) { $($module:ident::$name:ident,)* })*) => {
        /// The entry point of this name, null where the pretended version has none.
        pub fn address(name: &str) -> *mut c_void {
            $($(if name == stringify!($name) {
                return table().$name.map_or(std::ptr::null_mut(), |function| function as *mut c_void);
            })*)*
            std::ptr::null_mut()
        }
    };
}
entries!(by_name);
