//! Recording commands into a driver's command buffer (`cl_khr_command_buffer`).
//!
//! The extension has changed while it was provisional: from 0.9.5 on each function takes a list of properties, before then that of kernels alone did.

use std::ffi::c_void;

use opencl_sys::{CL_DEVICE_EXTENSIONS_WITH_VERSION, CL_INVALID_OPERATION, cl_int};

use super::dispatch::{ask, check};
use super::functions::Functions;
use super::query;
use crate::CLResult;

/// The extension's name.
pub const NAME: &str = "cl_khr_command_buffer";

/// Which form its functions have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prototypes {
    /// 0.9.0 to 0.9.4.
    Early,
    /// From 0.9.5 on, in 1.x too.
    WithProperties,
}

impl Prototypes {
    /// Of a version, as `CL_MAKE_VERSION` packs it; `None` for one that may have others.
    pub fn of_version(version: u32) -> Option<Prototypes> {
        let (major, minor, patch) = (version >> 22, version >> 12 & 0x3FF, version & 0xFFF);
        match (major, minor, patch) {
            (0, 9, ..5) => Some(Prototypes::Early),
            (0, 9, _) | (1, ..) => Some(Prototypes::WithProperties),
            _ => None,
        }
    }

    /// Of a driver's device, where it has the extension in a version that is known here.
    pub fn of_device(device: *mut c_void) -> Option<Prototypes> {
        let parameter = CL_DEVICE_EXTENSIONS_WITH_VERSION;
        let list = query::bytes(ask!(device, clGetDeviceInfo(device, parameter)));
        let list = list.ok()?;
        let mut entries = query::versions(&list);
        let (_, version) = entries.find(|(name, _)| *name == NAME.as_bytes())?;
        Prototypes::of_version(version)
    }
}

/// Where a command goes: the driver's command buffer, and what comes with each command.
pub struct Spot<'a> {
    pub functions: &'a Functions,
    pub prototypes: Prototypes,
    /// The driver's, to find its functions.
    pub device: *mut c_void,
    pub buffer: *mut c_void,
    /// Null where the program named none.
    pub queue: *mut c_void,
    pub properties: *const u64,
    pub waits: &'a [u32],
    /// Where the driver puts the synchronization point; null for none.
    pub point: *mut u32,
}

impl Spot<'_> {
    fn waits(&self) -> (u32, *const u32) {
        match self.waits {
            [] => (0, std::ptr::null()),
            list => (list.len() as u32, list.as_ptr()),
        }
    }
}

macro_rules! recorders {
    ($(fn $name:ident($($argument:ident: $type:ty),*);)*) => {$(
        /// # Errors
        /// The driver's; `CL_INVALID_OPERATION` where it has no such function.
        #[allow(non_snake_case, clippy::too_many_arguments, reason = "the name and the arguments are the extension's")]
        pub fn $name(spot: &Spot<'_> $(, $argument: $type)*) -> CLResult<()> {
            type Early = unsafe extern "C" fn(
                *mut c_void, *mut c_void, $($type,)* u32, *const u32, *mut u32, *mut *mut c_void,
            ) -> cl_int;
            let function = spot.functions.$name(spot.device).ok_or(CL_INVALID_OPERATION)?;
            let (buffer, queue, point) = (spot.buffer, spot.queue, spot.point);
            let (count, list) = spot.waits();
            let handle = std::ptr::null_mut();
            // SAFETY: the handles are the driver's own and live, pointers are the program's or ours as the extension wants
            // them, and the driver's version of the extension gives the function this prototype.
            check(unsafe {
                match spot.prototypes {
                    Prototypes::WithProperties => {
                        function(buffer, queue, spot.properties, $($argument,)* count, list, point, handle)
                    }
                    Prototypes::Early => {
                        let function = std::mem::transmute::<*mut c_void, Early>(function as *mut c_void);
                        function(buffer, queue, $($argument,)* count, list, point, handle)
                    }
                }
            })
        }
    )*};
}

recorders! {
    fn clCommandBarrierWithWaitListKHR();
    fn clCommandCopyBufferKHR(from: *mut c_void, to: *mut c_void, from_offset: usize, to_offset: usize, size: usize);
    fn clCommandCopyBufferRectKHR(
        from: *mut c_void, to: *mut c_void, from_origin: *const usize, to_origin: *const usize, region: *const usize,
        from_row: usize, from_slice: usize, to_row: usize, to_slice: usize
    );
    fn clCommandCopyBufferToImageKHR(
        from: *mut c_void, to: *mut c_void, offset: usize, origin: *const usize, region: *const usize
    );
    fn clCommandCopyImageKHR(
        from: *mut c_void, to: *mut c_void, from_origin: *const usize, to_origin: *const usize, region: *const usize
    );
    fn clCommandCopyImageToBufferKHR(
        from: *mut c_void, to: *mut c_void, origin: *const usize, region: *const usize, offset: usize
    );
    fn clCommandFillBufferKHR(
        to: *mut c_void, pattern: *const c_void, pattern_size: usize, offset: usize, size: usize
    );
    fn clCommandFillImageKHR(to: *mut c_void, color: *const c_void, origin: *const usize, region: *const usize);
    fn clCommandSVMMemcpyKHR(to: *mut c_void, from: *const c_void, size: usize);
    fn clCommandSVMMemFillKHR(to: *mut c_void, pattern: *const c_void, pattern_size: usize, size: usize);
}

/// The one function that has had properties all the time.
///
/// # Errors
/// The driver's; `CL_INVALID_OPERATION` where it has no such function.
#[allow(non_snake_case, reason = "the name is the extension's")]
pub fn clCommandNDRangeKernelKHR(
    spot: &Spot<'_>,
    kernel: *mut c_void,
    dimensions: u32,
    offset: *const usize,
    global: *const usize,
    local: *const usize,
) -> CLResult<()> {
    let function = spot.functions.clCommandNDRangeKernelKHR(spot.device);
    let function = function.ok_or(CL_INVALID_OPERATION)?;
    let (count, list) = spot.waits();
    let handle = std::ptr::null_mut();
    // SAFETY: as of the functions above.
    check(unsafe {
        function(
            spot.buffer,
            spot.queue,
            spot.properties,
            kernel,
            dimensions,
            offset,
            global,
            local,
            count,
            list,
            spot.point,
            handle,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_tell_the_prototypes() {
        let of = |patch: u32| Prototypes::of_version(9 << 12 | patch);
        assert_eq!(of(0), Some(Prototypes::Early));
        assert_eq!(of(4), Some(Prototypes::Early));
        assert_eq!(of(5), Some(Prototypes::WithProperties));
        assert_eq!(of(8), Some(Prototypes::WithProperties));
        assert_eq!(
            Prototypes::of_version(1 << 22),
            Some(Prototypes::WithProperties)
        );
        assert_eq!(Prototypes::of_version(2 << 22), None);
        assert_eq!(Prototypes::of_version(8 << 12), None);
    }
}
