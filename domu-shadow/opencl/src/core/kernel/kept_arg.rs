//! A kernel's arguments at one moment, kept alive.

use std::ffi::c_void;
use std::sync::Arc;

use super::arg::{Arg, ArgValue};
use crate::CLResult;
use crate::core::context::Context;
use crate::core::handle::{self, Object};
use crate::core::mem::Mem;
use crate::core::queue::Queue;
use crate::core::sampler::Sampler;
use crate::driver::dispatch::status;
use crate::driver::functions::extended;

/// An argument's value, whatever becomes of the kernel's own.
pub(super) enum KeptArg {
    Unset,
    Size(usize),
    Bytes(Vec<u8>),
    Svm(usize),
    Usm(usize),
    Mem(Arc<Mem>),
    Sampler(Arc<Sampler>),
    Queue(Arc<Queue>),
}

impl KeptArg {
    /// As it is now. What the program has released can't be used with its kernel any more.
    pub(super) fn of(arg: &Arg) -> KeptArg {
        fn live<T: Object>(
            handle: usize,
            id: u64,
            kept: impl FnOnce(Arc<T>) -> KeptArg,
        ) -> KeptArg {
            handle::share_if_same(handle as *mut c_void, id).map_or(KeptArg::Unset, kept)
        }
        match arg.value() {
            ArgValue::Unset => KeptArg::Unset,
            ArgValue::Size { bytes } => KeptArg::Size(bytes),
            ArgValue::Bytes(bytes) => KeptArg::Bytes(bytes),
            ArgValue::Svm { address } => KeptArg::Svm(address),
            ArgValue::Usm { address } => KeptArg::Usm(address),
            ArgValue::Mem { handle, id } => live(handle, id, KeptArg::Mem),
            ArgValue::Sampler { handle, id } => live(handle, id, KeptArg::Sampler),
            ArgValue::Queue { handle, id } => live(handle, id, KeptArg::Queue),
        }
    }

    /// Sets it for a driver's kernel.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn set(&self, context: &Context, kernel: *mut c_void, index: u32) -> CLResult<()> {
        let value = |size: usize, value: *const c_void| {
            status!(kernel, clSetKernelArg(kernel, index, size, value))
        };
        match self {
            KeptArg::Unset => Ok(()),
            KeptArg::Size(bytes) => value(*bytes, std::ptr::null()),
            KeptArg::Bytes(bytes) => value(bytes.len(), bytes.as_ptr().cast()),
            KeptArg::Svm(address) => {
                let pointer = *address as *const c_void;
                status!(kernel, clSetKernelArgSVMPointer(kernel, index, pointer))
            }
            KeptArg::Usm(address) => {
                let pointer = *address as *const c_void;
                // The memory was freed, or the process could not have moved: the driver's answer does not matter. A
                // pointer to the process's own memory is valid again if kernels take any.
                let _ = extended!(
                    context,
                    clSetKernelArgMemPointerINTEL(kernel, index, pointer)
                );
                Ok(())
            }
            KeptArg::Mem(mem) => set_handle(kernel, index, mem.real.get()),
            KeptArg::Sampler(sampler) => set_handle(kernel, index, sampler.real.get()),
            KeptArg::Queue(queue) => set_handle(kernel, index, queue.real.get()),
        }
    }
}

/// Sets an argument that is a driver's object.
///
/// # Errors
/// The driver's.
pub fn set_handle(kernel: *mut c_void, index: u32, object: *mut c_void) -> CLResult<()> {
    let pointer = (&raw const object).cast();
    status!(
        kernel,
        clSetKernelArg(kernel, index, size_of::<*mut c_void>(), pointer)
    )
}
