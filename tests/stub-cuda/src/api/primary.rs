//! Primary contexts.

use std::ffi::{c_int, c_uint};

use crate::abi::*;
use crate::call::entry_points;
use crate::context;
use crate::device;
use crate::ffi::put;

entry_points! {
    fn cuDevicePrimaryCtxRetain(out: *mut Handle, dev: CUdevice) {
        put(out, context::retain_primary(device::get(dev)?.ordinal)?)
    }

    fn cuDevicePrimaryCtxRelease(dev: CUdevice) {
        context::release_primary(device::get(dev)?.ordinal)
    }

    fn cuDevicePrimaryCtxRelease_v2(dev: CUdevice) {
        context::release_primary(device::get(dev)?.ordinal)
    }

    fn cuDevicePrimaryCtxReset(dev: CUdevice) {
        context::reset_primary(device::get(dev)?.ordinal);
        Ok(())
    }

    fn cuDevicePrimaryCtxReset_v2(dev: CUdevice) {
        context::reset_primary(device::get(dev)?.ordinal);
        Ok(())
    }

    fn cuDevicePrimaryCtxSetFlags(dev: CUdevice, flags: c_uint) {
        context::set_primary_flags(device::get(dev)?.ordinal, flags);
        Ok(())
    }

    fn cuDevicePrimaryCtxSetFlags_v2(dev: CUdevice, flags: c_uint) {
        context::set_primary_flags(device::get(dev)?.ordinal, flags);
        Ok(())
    }

    fn cuDevicePrimaryCtxGetState(dev: CUdevice, flags: *mut c_uint, active: *mut c_int) {
        let (set, is_active) = context::primary_state(device::get(dev)?.ordinal);
        put(flags, set)?;
        put(active, c_int::from(is_active))
    }
}
