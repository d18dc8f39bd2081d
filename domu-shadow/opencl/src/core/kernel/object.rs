//! The kernel: its arguments, and what else the program told it.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use opencl_sys::{
    CL_INVALID_KERNEL, CL_KERNEL_ARG_INFO_NOT_AVAILABLE, CL_KERNEL_ATTRIBUTES,
    CL_KERNEL_EXEC_INFO_INDIRECT_HOST_ACCESS_INTEL,
    CL_KERNEL_EXEC_INFO_INDIRECT_SHARED_ACCESS_INTEL, CL_KERNEL_FUNCTION_NAME, CL_KERNEL_NUM_ARGS,
};

use super::arg::Arg;
use super::arg_kind::{ArgKind, kind};
use super::kept_arg::KeptArg;
use crate::CLResult;
use crate::core::driver_handle::DriverHandle;
use crate::core::handle::{self, Slot, object};
use crate::core::mem::{Mem, TRACKING};
use crate::core::program::Program;
use crate::core::program::signature::{Signature, arg_info};
use crate::driver::dispatch::{ask, create, released, status};
use crate::driver::query;
use runtime::locks::lock;
use runtime::residency::{self, ensure_resident};

/// `CL_KERNEL_EXEC_INFO_INDIRECT_*_ACCESS_INTEL`: whether a kernel follows pointers to unified shared memory.
pub const INDIRECT_ACCESS: std::ops::RangeInclusive<u32> =
    CL_KERNEL_EXEC_INFO_INDIRECT_HOST_ACCESS_INTEL
        ..=CL_KERNEL_EXEC_INFO_INDIRECT_SHARED_ACCESS_INTEL;

/// What `clSetKernelExecInfo` said last, by its parameter.
pub(super) type ExecInfo = BTreeMap<u32, Vec<u8>>;

pub struct Kernel {
    slot: Slot<Kernel>,
    pub real: DriverHandle,
    pub program: Arc<Program>,
    pub name: CString,
    pub args: Box<[Arg]>,
    pub signature: Signature,
    exec_info: Mutex<ExecInfo>,
}

object!(Kernel, CL_INVALID_KERNEL);

impl Kernel {
    /// Whether a program has kernels.
    pub fn any_of(program: &Program) -> bool {
        let mut kernels = handle::all::<Kernel>().into_iter();
        kernels.any(|kernel| std::ptr::eq(&*kernel.program, program))
    }

    /// The shadow of a driver's kernel that this process owns from now on.
    ///
    /// # Errors
    /// The driver's, asked about the kernel, which is released then.
    pub fn of(program: Arc<Program>, real: *mut c_void) -> CLResult<Arc<Kernel>> {
        Kernel::ask(program, real).inspect_err(|_| release(real))
    }

    fn ask(program: Arc<Program>, real: *mut c_void) -> CLResult<Arc<Kernel>> {
        let ask = |parameter: u32| query::bytes(ask!(real, clGetKernelInfo(real, parameter)));
        let name = CString::from_vec_with_nul(ask(CL_KERNEL_FUNCTION_NAME)?).unwrap_or_default();
        let count = ask(CL_KERNEL_NUM_ARGS)?;
        let count = count
            .first_chunk()
            .map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        let of_driver = Signature {
            args: (0..count).map(|index| arg_info(real, index)).collect(),
            attributes: ask(CL_KERNEL_ATTRIBUTES).ok(),
        };
        let signature = program.signature(&name, of_driver);
        let args = signature.args.iter();
        let args = args.map(|info| Arg::new(kind(info))).collect();
        Ok(Arc::new(Kernel {
            slot: Slot::reserve(),
            real: DriverHandle::new(real),
            program,
            name,
            args,
            signature,
            exec_info: Mutex::default(),
        }))
    }

    /// Makes the driver's kernel again, with its arguments.
    ///
    /// # Errors
    /// The driver's.
    pub fn recreate(&self) -> CLResult<()> {
        let program = self.program.real.get();
        let real = create!(program, clCreateKernel(program, self.name.as_ptr()))?;
        self.real.set(real);
        tell(real, &self.exec_info())?;
        let context = &self.program.context;
        self.kept_args()
            .iter()
            .zip(0..)
            .try_for_each(|(arg, index)| {
                arg.set(context, real, index).inspect_err(|code| {
                    log::error!(
                        "argument {index} of kernel {:?} cannot be set again: error {code}",
                        self.name
                    );
                })
            })
    }

    pub(super) fn exec_info(&self) -> MutexGuard<'_, ExecInfo> {
        lock(&self.exec_info)
    }

    /// `clSetKernelExecInfo` has been called.
    pub fn remember_exec_info(&self, parameter: u32, value: Vec<u8>) {
        self.exec_info().insert(parameter, value);
    }

    /// Takes over what another kernel was told: for `clCloneKernel`.
    pub fn copy_settings(&self, from: &Kernel) {
        for (to, from) in self.args.iter().zip(&from.args) {
            to.copy_from(from);
        }
        self.exec_info().clone_from(&from.exec_info());
    }

    /// The arguments as they are now.
    pub(super) fn kept_args(&self) -> Vec<KeptArg> {
        self.args.iter().map(KeptArg::of).collect()
    }

    /// The kernel is to be enqueued: waits until the contents of its arguments are there. See [`Mem::ensure_resident`].
    #[inline]
    pub fn ensure_resident(&self) {
        if residency::is_watched() {
            self.ensure_each_resident();
        }
    }

    #[cold]
    fn ensure_each_resident(&self) {
        let set = self.args.iter().filter_map(Arg::mem);
        let mems =
            set.filter_map(|(handle, id)| handle::share_if_same::<Mem>(handle as *mut c_void, id));
        let mems: Vec<_> = mems.collect();
        ensure_resident(mems.iter().map(|mem| &**mem));
    }

    /// The kernel was enqueued: marks every buffer that it may write, or that it names. Only while a capture tracks.
    #[inline]
    pub fn mark_written(&self) {
        if TRACKING.load(Ordering::Relaxed) {
            self.mark_arguments();
        }
    }

    #[cold]
    fn mark_arguments(&self) {
        for arg in &self.args {
            if let Some((handle, id)) = arg.mem()
                && let Some(mem) = handle::share_if_same::<Mem>(handle as *mut c_void, id)
            {
                mark(arg, &mem);
            }
        }
    }

    /// Calls `ask` with a kernel of the driver's that has no more argument info than the program asked for.
    ///
    /// # Errors
    /// Those of `ask`; `CL_KERNEL_ARG_INFO_NOT_AVAILABLE` where there is no such kernel.
    pub fn without_arg_info(&self, ask: impl FnOnce(*mut c_void) -> CLResult<()>) -> CLResult<()> {
        self.program.without_arg_info(|program| {
            let name = self.name.as_ptr();
            let made = create!(program, clCreateKernel(program, name));
            let plain = made.map_err(|_| CL_KERNEL_ARG_INFO_NOT_AVAILABLE)?;
            let answer = ask(plain);
            release(plain);
            answer
        })
    }

    /// Releases the driver's kernel; made again by [`Kernel::recreate`].
    pub fn release_driver(&self) {
        if let Some(real) = self.real.take() {
            release(real);
        }
    }
}

/// A kernel with the memory object as this argument was enqueued.
pub(super) fn mark(arg: &Arg, mem: &Mem) {
    let may_write = !matches!(arg.kind, ArgKind::Mem { writable: false });
    if may_write && mem.kernels_may_write() {
        mem.mark_written();
    } else {
        mem.mark_used();
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.release_driver();
    }
}

/// Releases a kernel of the driver's.
pub fn release(real: *mut c_void) {
    released("a kernel", status!(real, clReleaseKernel(real)));
}

/// Tells a driver's kernel what `clSetKernelExecInfo` said.
///
/// # Errors
/// The driver's.
pub(super) fn tell(real: *mut c_void, exec_info: &ExecInfo) -> CLResult<()> {
    exec_info.iter().try_for_each(|(&parameter, value)| {
        let bytes = value.as_ptr().cast();
        let answer = status!(
            real,
            clSetKernelExecInfo(real, parameter, value.len(), bytes)
        );
        // Indirect access is about memory that no longer exists.
        if INDIRECT_ACCESS.contains(&parameter) {
            Ok(())
        } else {
            answer
        }
    })
}
