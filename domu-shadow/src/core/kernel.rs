//! Kernels, with their arguments' info and values.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use opencl_sys::{
    CL_INVALID_KERNEL, CL_KERNEL_ARG_ACCESS_QUALIFIER, CL_KERNEL_ARG_ACCESS_READ_ONLY,
    CL_KERNEL_ARG_ADDRESS_CONSTANT, CL_KERNEL_ARG_ADDRESS_GLOBAL, CL_KERNEL_ARG_ADDRESS_LOCAL,
    CL_KERNEL_ARG_ADDRESS_QUALIFIER, CL_KERNEL_ARG_NAME, CL_KERNEL_ARG_TYPE_CONST,
    CL_KERNEL_ARG_TYPE_NAME, CL_KERNEL_ARG_TYPE_QUALIFIER, CL_KERNEL_FUNCTION_NAME,
    CL_KERNEL_NUM_ARGS, cl_int,
};

use super::CLResult;
use super::command::Kept;
use super::handle::{self, Kind, Object, Slot};
use super::kernel_arg::{Arg, ArgKind, ArgValue};
use super::mem::{Mem, TRACKING};
use super::presence;
use super::program::Program;
use super::queue::Queue;
use super::real::Real;
use super::sampler::Sampler;
use crate::driver::dispatch::{create, status};
use crate::driver::query;

/// The driver's answers to `clGetKernelArgInfo`, in the order of [`ARG_INFO`].
pub type ArgInfo = [Option<Vec<u8>>; 5];

/// The parameters of `clGetKernelArgInfo`.
pub const ARG_INFO: [u32; 5] = [
    CL_KERNEL_ARG_ADDRESS_QUALIFIER,
    CL_KERNEL_ARG_ACCESS_QUALIFIER,
    CL_KERNEL_ARG_TYPE_NAME,
    CL_KERNEL_ARG_TYPE_QUALIFIER,
    CL_KERNEL_ARG_NAME,
];

pub struct Kernel {
    slot: Slot<Kernel>,
    pub real: Real,
    pub program: Arc<Program>,
    pub name: CString,
    pub args: Box<[Arg]>,
    pub arg_info: Box<[ArgInfo]>,
    /// What `clSetKernelExecInfo` said last, by its parameter.
    exec_info: Mutex<BTreeMap<u32, Vec<u8>>>,
}

impl Object for Kernel {
    const KIND: Kind = Kind::Kernel;
    const INVALID: cl_int = CL_INVALID_KERNEL;
    fn slot(&self) -> &Slot<Self> {
        &self.slot
    }
}

impl Kernel {
    /// The shadow of a driver's kernel that this process owns from now on.
    ///
    /// # Errors
    /// The driver's, asked about the kernel.
    pub fn of(program: Arc<Program>, real: *mut c_void) -> CLResult<Arc<Kernel>> {
        let ask = |parameter: u32| {
            query::bytes(&|size, value, size_ret| {
                status!(
                    real,
                    clGetKernelInfo(real, parameter, size, value, size_ret)
                )
            })
        };
        let name = CString::from_vec_with_nul(ask(CL_KERNEL_FUNCTION_NAME)?).unwrap_or_default();
        let count = ask(CL_KERNEL_NUM_ARGS)?;
        let count = count
            .first_chunk()
            .map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        let arg_info = (0..count).map(|index| arg_info(real, index)).collect();
        let arg_info = program.signature(&name, arg_info);
        let args = arg_info.iter().map(|info| Arg::new(kind(info))).collect();
        Ok(Arc::new(Kernel {
            slot: Slot::reserve(),
            real: Real::new(real),
            program,
            name,
            args,
            arg_info,
            exec_info: Mutex::default(),
        }))
    }

    /// Makes the driver's kernel again, with its arguments.
    ///
    /// # Errors
    /// The driver's.
    pub fn make(&self) -> CLResult<()> {
        let program = self.program.real.get();
        let real = create!(program, clCreateKernel(program, self.name.as_ptr()))?;
        self.real.set(real);
        self.tell_exec_info(real)?;
        self.args().iter().zip(0..).try_for_each(|(arg, index)| {
            arg.set(real, index).inspect_err(|code| {
                log::error!(
                    "argument {index} of kernel {:?} cannot be set again: error {code}",
                    self.name
                );
            })
        })
    }

    fn exec_info(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Vec<u8>>> {
        self.exec_info
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// `clSetKernelExecInfo` has been called.
    pub fn remember_exec_info(&self, parameter: u32, value: Vec<u8>) {
        self.exec_info().insert(parameter, value);
    }

    fn tell_exec_info(&self, real: *mut c_void) -> CLResult<()> {
        self.exec_info().iter().try_for_each(|(&parameter, value)| {
            let bytes = value.as_ptr().cast();
            status!(
                real,
                clSetKernelExecInfo(real, parameter, value.len(), bytes)
            )
        })
    }

    /// The arguments as they are now. What the program has released can't be used with this kernel any more.
    fn args(&self) -> Vec<KeptArg> {
        fn live<T: Object>(
            handle: usize,
            id: u64,
            kept: impl FnOnce(Arc<T>) -> KeptArg,
        ) -> KeptArg {
            handle::share_if_same(handle as *mut c_void, id).map_or(KeptArg::Unset, kept)
        }
        let keep = |arg: &Arg| match arg.value() {
            ArgValue::Unset => KeptArg::Unset,
            ArgValue::Size { bytes } => KeptArg::Size(bytes),
            ArgValue::Bytes(bytes) => KeptArg::Bytes(bytes),
            ArgValue::Svm { address } => KeptArg::Svm(address),
            ArgValue::Mem { handle, id } => live(handle, id, KeptArg::Mem),
            ArgValue::Sampler { handle, id } => live(handle, id, KeptArg::Sampler),
            ArgValue::Queue { handle, id } => live(handle, id, KeptArg::Queue),
        };
        self.args.iter().map(keep).collect()
    }

    /// The kernel is to be enqueued: waits until the contents of its arguments are there. See [`Mem::need`].
    #[inline]
    pub fn need_arguments(&self) {
        if presence::is_watched() {
            self.need_each();
        }
    }

    #[cold]
    fn need_each(&self) {
        let set = self.args.iter().filter_map(Arg::mem);
        let mems =
            set.filter_map(|(handle, id)| handle::share_if_same::<Mem>(handle as *mut c_void, id));
        let mems: Vec<_> = mems.collect();
        presence::need_all(mems.iter().map(|mem| &**mem));
    }

    /// The kernel was enqueued: marks every buffer that it may write, or that it names. Only while a capture tracks.
    #[inline]
    pub fn mark_written(&self) {
        if TRACKING.load(std::sync::atomic::Ordering::Relaxed) {
            self.mark_arguments();
        }
    }

    #[cold]
    fn mark_arguments(&self) {
        for arg in &self.args {
            let may_write = !matches!(arg.kind, ArgKind::Mem { writable: false });
            if let Some((handle, id)) = arg.mem()
                && let Some(mem) = handle::share_if_same::<Mem>(handle as *mut c_void, id)
            {
                if may_write && mem.kernels_may_write() {
                    mem.mark_written();
                } else {
                    mem.mark_used();
                }
            }
        }
    }

    /// Releases the driver's kernel; made again by [`Kernel::make`].
    pub fn unmake(&self) {
        if let Some(real) = self.real.take()
            && let Err(code) = status!(real, clReleaseKernel(real))
        {
            log::warn!("a driver refused to release a kernel: error {code}");
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.unmake();
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

/// An argument's value, whatever becomes of the kernel's own.
enum KeptArg {
    Unset,
    Size(usize),
    Bytes(Vec<u8>),
    Svm(usize),
    Mem(Arc<Mem>),
    Sampler(Arc<Sampler>),
    Queue(Arc<Queue>),
}

impl KeptArg {
    fn set(&self, kernel: *mut c_void, index: u32) -> CLResult<()> {
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
            KeptArg::Mem(mem) => set_handle(kernel, index, mem.real.get()),
            KeptArg::Sampler(sampler) => set_handle(kernel, index, sampler.real.get()),
            KeptArg::Queue(queue) => set_handle(kernel, index, queue.real.get()),
        }
    }
}

/// A kernel with its arguments at one moment: one that was enqueued, whatever the program has set since.
pub struct Run {
    kernel: Arc<Kernel>,
    args: Vec<KeptArg>,
}

impl Run {
    pub fn of(kernel: &Kernel) -> Run {
        Run {
            kernel: handle::shared(kernel),
            args: kernel.args(),
        }
    }

    fn mems(&self) -> impl Iterator<Item = &Mem> {
        self.args.iter().filter_map(|arg| match arg {
            KeptArg::Mem(mem) => Some(&**mem),
            _ => None,
        })
    }
}

impl Kept for Run {
    type Reals = *mut c_void;

    fn with(&self, enqueue: &dyn Fn(&*mut c_void) -> CLResult<()>) -> CLResult<()> {
        let program = self.kernel.program.real.get();
        let name = self.kernel.name.as_ptr();
        let real = create!(program, clCreateKernel(program, name))?;
        let mut args = self.args.iter().zip(0..);
        let answer = self
            .kernel
            .tell_exec_info(real)
            .and_then(|()| args.try_for_each(|(arg, index)| arg.set(real, index)))
            .and_then(|()| enqueue(&real));
        answer.and(status!(real, clReleaseKernel(real)))
    }

    fn mark_written(&self) {
        self.mems().for_each(Mem::mark_written);
    }

    fn need(&self) {
        presence::need_all(self.mems());
    }
}

fn arg_info(real: *mut c_void, index: u32) -> ArgInfo {
    ARG_INFO.map(|parameter| {
        query::bytes(&|size, value, size_ret| {
            status!(
                real,
                clGetKernelArgInfo(real, index, parameter, size, value, size_ret)
            )
        })
        .ok()
    })
}

fn kind(info: &ArgInfo) -> ArgKind {
    let [address, access, type_name, qualifier, _] = info;
    let Some(address) = number_of(address) else {
        return ArgKind::Unknown;
    };
    let qualifier = qualifier
        .as_ref()
        .and_then(|bytes| bytes.first_chunk())
        .map_or(0, |b| u64::from_ne_bytes(*b));
    match address {
        CL_KERNEL_ARG_ADDRESS_GLOBAL => ArgKind::Mem {
            writable: qualifier & u64::from(CL_KERNEL_ARG_TYPE_CONST) == 0,
        },
        CL_KERNEL_ARG_ADDRESS_CONSTANT => ArgKind::Mem { writable: false },
        CL_KERNEL_ARG_ADDRESS_LOCAL => ArgKind::Local,
        // Drivers differ in where they say images and pipes are; the type's name tells.
        _ => match type_name.as_deref().unwrap_or(b"") {
            name if name.starts_with(b"image") || name.starts_with(b"pipe") => ArgKind::Mem {
                writable: number_of(access) != Some(CL_KERNEL_ARG_ACCESS_READ_ONLY),
            },
            name if name.starts_with(b"sampler") => ArgKind::Sampler,
            name if name.starts_with(b"queue") => ArgKind::Queue,
            _ => ArgKind::Value,
        },
    }
}

fn number_of(bytes: &Option<Vec<u8>>) -> Option<u32> {
    let bytes = bytes.as_ref()?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Option<Vec<u8>> {
        Some(bytes.to_vec())
    }

    fn info(address: u32, type_name: &[u8], qualifier: u64) -> ArgInfo {
        [
            text(&address.to_ne_bytes()),
            None,
            text(type_name),
            text(&qualifier.to_ne_bytes()),
            None,
        ]
    }

    #[test]
    fn argument_info_decides() {
        let global = CL_KERNEL_ARG_ADDRESS_GLOBAL;
        let private = opencl_sys::CL_KERNEL_ARG_ADDRESS_PRIVATE;
        assert_eq!(
            kind(&info(global, b"float*\0", 0)),
            ArgKind::Mem { writable: true }
        );
        assert_eq!(
            kind(&info(global, b"float*\0", CL_KERNEL_ARG_TYPE_CONST.into())),
            ArgKind::Mem { writable: false }
        );
        assert_eq!(
            kind(&info(CL_KERNEL_ARG_ADDRESS_CONSTANT, b"int*\0", 0)),
            ArgKind::Mem { writable: false }
        );
        assert_eq!(
            kind(&info(CL_KERNEL_ARG_ADDRESS_LOCAL, b"int*\0", 0)),
            ArgKind::Local
        );
        assert_eq!(kind(&info(private, b"ulong\0", 0)), ArgKind::Value);
        assert_eq!(
            kind(&info(private, b"image2d_t\0", 0)),
            ArgKind::Mem { writable: true }
        );
        let mut read_only = info(private, b"image2d_t\0", 0);
        read_only[1] = text(&CL_KERNEL_ARG_ACCESS_READ_ONLY.to_ne_bytes());
        assert_eq!(kind(&read_only), ArgKind::Mem { writable: false });
        assert_eq!(kind(&info(private, b"sampler_t\0", 0)), ArgKind::Sampler);
        assert_eq!(kind(&info(private, b"queue_t\0", 0)), ArgKind::Queue);
        assert_eq!(kind(&[None, None, None, None, None]), ArgKind::Unknown);
    }
}
