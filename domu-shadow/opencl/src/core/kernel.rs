//! Kernels, with their arguments' info and values.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use opencl_sys::{
    CL_INVALID_KERNEL, CL_KERNEL_ARG_ACCESS_QUALIFIER, CL_KERNEL_ARG_ACCESS_READ_ONLY,
    CL_KERNEL_ARG_ACCESS_READ_WRITE, CL_KERNEL_ARG_ACCESS_WRITE_ONLY,
    CL_KERNEL_ARG_ADDRESS_CONSTANT, CL_KERNEL_ARG_ADDRESS_GLOBAL, CL_KERNEL_ARG_ADDRESS_LOCAL,
    CL_KERNEL_ARG_ADDRESS_QUALIFIER, CL_KERNEL_ARG_NAME, CL_KERNEL_ARG_TYPE_CONST,
    CL_KERNEL_ARG_TYPE_NAME, CL_KERNEL_ARG_TYPE_PIPE, CL_KERNEL_ARG_TYPE_QUALIFIER,
    CL_KERNEL_ATTRIBUTES, CL_KERNEL_EXEC_INFO_INDIRECT_HOST_ACCESS_INTEL,
    CL_KERNEL_EXEC_INFO_INDIRECT_SHARED_ACCESS_INTEL, CL_KERNEL_FUNCTION_NAME, CL_KERNEL_NUM_ARGS,
    cl_int,
};

use super::command::Kept;
use super::context::Context;
use super::driver_handle::DriverHandle;
use super::handle::{self, Kind, Object, Slot};
use super::kernel_arg::{Arg, ArgKind, ArgValue};
use super::mem::{Mem, TRACKING};
use super::program::Program;
use super::queue::Queue;
use super::sampler::Sampler;
use crate::CLResult;
use crate::driver::dispatch::{create, status};
use crate::driver::functions::extended;
use crate::driver::query;
use runtime::residency::{self, ensure_resident};

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

/// `CL_KERNEL_EXEC_INFO_INDIRECT_*_ACCESS_INTEL`: whether a kernel follows pointers to unified shared memory.
pub const INDIRECT_ACCESS: std::ops::RangeInclusive<u32> =
    CL_KERNEL_EXEC_INFO_INDIRECT_HOST_ACCESS_INTEL
        ..=CL_KERNEL_EXEC_INFO_INDIRECT_SHARED_ACCESS_INTEL;

/// What only a build from the source tells of a kernel.
#[derive(Clone)]
pub struct Signature {
    pub args: Box<[ArgInfo]>,
    /// `CL_KERNEL_ATTRIBUTES`; `None` where the driver has no such thing.
    pub attributes: Option<Vec<u8>>,
}

/// What `clSetKernelExecInfo` said last, by its parameter.
type ExecInfo = BTreeMap<u32, Vec<u8>>;

pub struct Kernel {
    slot: Slot<Kernel>,
    pub real: DriverHandle,
    pub program: Arc<Program>,
    pub name: CString,
    pub args: Box<[Arg]>,
    pub signature: Signature,
    exec_info: Mutex<ExecInfo>,
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
    /// The driver's, asked about the kernel, which is released then.
    pub fn of(program: Arc<Program>, real: *mut c_void) -> CLResult<Arc<Kernel>> {
        Kernel::ask(program, real).inspect_err(|_| release(real))
    }

    fn ask(program: Arc<Program>, real: *mut c_void) -> CLResult<Arc<Kernel>> {
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
    pub fn make(&self) -> CLResult<()> {
        let program = self.program.real.get();
        let real = create!(program, clCreateKernel(program, self.name.as_ptr()))?;
        self.real.set(real);
        tell(real, &self.exec_info())?;
        let context = &self.program.context;
        self.args().iter().zip(0..).try_for_each(|(arg, index)| {
            arg.set(context, real, index).inspect_err(|code| {
                log::error!(
                    "argument {index} of kernel {:?} cannot be set again: error {code}",
                    self.name
                );
            })
        })
    }

    fn exec_info(&self) -> std::sync::MutexGuard<'_, ExecInfo> {
        self.exec_info
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
            ArgValue::Usm { address } => KeptArg::Usm(address),
            ArgValue::Mem { handle, id } => live(handle, id, KeptArg::Mem),
            ArgValue::Sampler { handle, id } => live(handle, id, KeptArg::Sampler),
            ArgValue::Queue { handle, id } => live(handle, id, KeptArg::Queue),
        };
        self.args.iter().map(keep).collect()
    }

    /// The kernel is to be enqueued: waits until the contents of its arguments are there. See [`Mem::need`].
    #[inline]
    pub fn need_arguments(&self) {
        if residency::is_watched() {
            self.need_each();
        }
    }

    #[cold]
    fn need_each(&self) {
        let set = self.args.iter().filter_map(Arg::mem);
        let mems =
            set.filter_map(|(handle, id)| handle::share_if_same::<Mem>(handle as *mut c_void, id));
        let mems: Vec<_> = mems.collect();
        ensure_resident(mems.iter().map(|mem| &**mem));
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
            if let Some((handle, id)) = arg.mem()
                && let Some(mem) = handle::share_if_same::<Mem>(handle as *mut c_void, id)
            {
                mark(arg, &mem);
            }
        }
    }

    /// Releases the driver's kernel; made again by [`Kernel::make`].
    pub fn unmake(&self) {
        if let Some(real) = self.real.take() {
            release(real);
        }
    }
}

/// A kernel with the memory object as this argument was enqueued.
fn mark(arg: &Arg, mem: &Mem) {
    let may_write = !matches!(arg.kind, ArgKind::Mem { writable: false });
    if may_write && mem.kernels_may_write() {
        mem.mark_written();
    } else {
        mem.mark_used();
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.unmake();
    }
}

/// Releases a kernel of the driver's.
pub(super) fn release(real: *mut c_void) {
    if let Err(code) = status!(real, clReleaseKernel(real)) {
        log::warn!("a driver refused to release a kernel: error {code}");
    }
}

fn tell(real: *mut c_void, exec_info: &ExecInfo) -> CLResult<()> {
    exec_info.iter().try_for_each(|(&parameter, value)| {
        let bytes = value.as_ptr().cast();
        let answer = status!(
            real,
            clSetKernelExecInfo(real, parameter, value.len(), bytes)
        );
        // Of memory that the kernel may use, of which there is none now.
        if INDIRECT_ACCESS.contains(&parameter) {
            Ok(())
        } else {
            answer
        }
    })
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
    Usm(usize),
    Mem(Arc<Mem>),
    Sampler(Arc<Sampler>),
    Queue(Arc<Queue>),
}

impl KeptArg {
    fn set(&self, context: &Context, kernel: *mut c_void, index: u32) -> CLResult<()> {
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
                // The memory was freed, or the process would not be here; what the driver thinks of that does not matter. A
                // pointer of the process's own, where kernels take any, is good again.
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

/// A kernel with its arguments at one moment: one that was enqueued, whatever the program has set since.
pub struct Run {
    kernel: Arc<Kernel>,
    args: Vec<KeptArg>,
    exec_info: ExecInfo,
}

impl Run {
    pub fn of(kernel: &Kernel) -> Run {
        Run {
            kernel: handle::shared(kernel),
            args: kernel.args(),
            exec_info: kernel.exec_info().clone(),
        }
    }

    pub(super) fn mems(&self) -> impl Iterator<Item = &Mem> {
        self.args.iter().filter_map(|arg| match arg {
            KeptArg::Mem(mem) => Some(&**mem),
            _ => None,
        })
    }
}

impl Run {
    /// A kernel of the driver's with these arguments, for the caller to release.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn make(&self) -> CLResult<*mut c_void> {
        let program = self.kernel.program.real.get();
        let name = self.kernel.name.as_ptr();
        let real = create!(program, clCreateKernel(program, name))?;
        let context = &self.kernel.program.context;
        let mut args = self.args.iter().zip(0..);
        tell(real, &self.exec_info)
            .and_then(|()| args.try_for_each(|(arg, index)| arg.set(context, real, index)))
            .inspect_err(|_| release(real))?;
        Ok(real)
    }

    /// It was enqueued: marks what it may write, or names.
    pub(super) fn mark_arguments(&self) {
        for (kept, arg) in self.args.iter().zip(&self.kernel.args) {
            if let KeptArg::Mem(mem) = kept {
                mark(arg, mem);
            }
        }
    }
}

impl Kept for Run {
    type Reals = *mut c_void;

    fn with(&self, enqueue: &dyn Fn(&*mut c_void) -> CLResult<()>) -> CLResult<()> {
        let real = self.make()?;
        let answer = enqueue(&real);
        answer.and(status!(real, clReleaseKernel(real)))
    }

    fn mark_written(&self) {
        self.mark_arguments();
    }

    fn ensure_resident(&self) {
        ensure_resident(self.mems());
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
    let access = number_of(access);
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
        // Drivers differ in where they say images and pipes are. The names are OpenCL C's own, those of a program's
        // structures may begin like them.
        _ => match name_of(type_name) {
            b"sampler_t" => ArgKind::Sampler,
            b"queue_t" => ArgKind::Queue,
            name if is_image(access) || IMAGES.contains(&name) || is_pipe(qualifier, name) => {
                ArgKind::Mem {
                    writable: access != Some(CL_KERNEL_ARG_ACCESS_READ_ONLY),
                }
            }
            _ => ArgKind::Value,
        },
    }
}

/// The types of images, for drivers that don't tell the access.
const IMAGES: [&[u8]; 12] = [
    b"image1d_t",
    b"image1d_array_t",
    b"image1d_buffer_t",
    b"image2d_t",
    b"image2d_array_t",
    b"image2d_depth_t",
    b"image2d_array_depth_t",
    b"image2d_msaa_t",
    b"image2d_array_msaa_t",
    b"image2d_msaa_depth_t",
    b"image2d_array_msaa_depth_t",
    b"image3d_t",
];

fn is_image(access: Option<u32>) -> bool {
    const SAID: [u32; 3] = [
        CL_KERNEL_ARG_ACCESS_READ_ONLY,
        CL_KERNEL_ARG_ACCESS_WRITE_ONLY,
        CL_KERNEL_ARG_ACCESS_READ_WRITE,
    ];
    access.is_some_and(|access| SAID.contains(&access))
}

fn is_pipe(qualifier: u64, name: &[u8]) -> bool {
    qualifier & u64::from(CL_KERNEL_ARG_TYPE_PIPE) != 0 || name.starts_with(b"pipe ")
}

/// A type's name as the driver gives it, without the zero.
fn name_of(bytes: &Option<Vec<u8>>) -> &[u8] {
    let bytes = bytes.as_deref().unwrap_or_default();
    bytes.strip_suffix(b"\0").unwrap_or(bytes)
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
        let mut pipe = info(private, b"int\0", CL_KERNEL_ARG_TYPE_PIPE.into());
        assert_eq!(kind(&pipe), ArgKind::Mem { writable: true });
        pipe = info(private, b"pipe int\0", 0);
        assert_eq!(kind(&pipe), ArgKind::Mem { writable: true });
        for structure in [
            &b"image_size\0"[..],
            b"image2d_size_t\0",
            b"sampler_params\0",
            b"queue_t_head\0",
            b"pipeline\0",
        ] {
            assert_eq!(kind(&info(private, structure, 0)), ArgKind::Value);
        }
        assert_eq!(kind(&info(private, b"sampler_t\0", 0)), ArgKind::Sampler);
        assert_eq!(kind(&info(private, b"queue_t\0", 0)), ArgKind::Queue);
        assert_eq!(kind(&[None, None, None, None, None]), ArgKind::Unknown);
    }
}
