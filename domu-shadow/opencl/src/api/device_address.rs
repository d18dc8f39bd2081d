//! Buffers with an address that kernels take (`cl_ext_buffer_device_address`). It is the driver's; while there is such a buffer, the
//! process is not moved. The buffers themselves are made by `clCreateBufferWithProperties`.

use std::ffi::c_void;

use opencl_sys::{CL_INVALID_ARG_INDEX, cl_kernel};

use super::entry::entry;
use crate::core::{Kernel, handle};
use crate::driver::functions::extended;

entry! {
    fn clSetKernelArgDevicePointerEXT(caller, kernel: cl_kernel, index: u32, address: u64) -> status {
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        let arg = kernel.args.get(index as usize).ok_or(CL_INVALID_ARG_INDEX)?;
        let k = kernel.real.get();
        extended!(kernel.program.context, clSetKernelArgDevicePointerEXT(k, index, address))?;
        arg.forget();
        Ok(())
    }
}

/// The extension's function of this name, null if it is none.
pub fn function(name: &[u8]) -> *mut c_void {
    match name {
        b"clSetKernelArgDevicePointerEXT" => clSetKernelArgDevicePointerEXT as *mut c_void,
        _ => std::ptr::null_mut(),
    }
}
