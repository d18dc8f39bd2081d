//! A kernel as it was enqueued.

use std::ffi::c_void;
use std::sync::Arc;

use super::kept_arg::KeptArg;
use super::object::{ExecInfo, Kernel, mark, release, tell};
use crate::CLResult;
use crate::core::command::operands::{Kept, Operands};
use crate::core::handle;
use crate::core::mem::Mem;
use crate::driver::dispatch::{create, status};
use runtime::residency::ensure_resident;

/// A kernel with its arguments at one moment: one that was enqueued, whatever the program has set since.
pub struct KernelLaunch {
    kernel: Arc<Kernel>,
    args: Vec<KeptArg>,
    exec_info: ExecInfo,
}

impl KernelLaunch {
    pub fn of(kernel: &Kernel) -> KernelLaunch {
        KernelLaunch {
            kernel: handle::shared(kernel),
            args: kernel.kept_args(),
            exec_info: kernel.exec_info().clone(),
        }
    }

    pub(in crate::core) fn mems(&self) -> impl Iterator<Item = &Mem> {
        self.args.iter().filter_map(|arg| match arg {
            KeptArg::Mem(mem) => Some(&**mem),
            _ => None,
        })
    }

    /// A kernel of the driver's with these arguments, for the caller to release.
    ///
    /// # Errors
    /// The driver's.
    pub(in crate::core) fn create_driver(&self) -> CLResult<*mut c_void> {
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
    pub(in crate::core) fn mark_arguments(&self) {
        for (kept, arg) in self.args.iter().zip(&self.kernel.args) {
            if let KeptArg::Mem(mem) = kept {
                mark(arg, mem);
            }
        }
    }
}

impl Kept for KernelLaunch {
    type Reals = *mut c_void;

    fn with(&self, enqueue: &dyn Fn(&*mut c_void) -> CLResult<()>) -> CLResult<()> {
        let real = self.create_driver()?;
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

impl Operands for &Kernel {
    type Reals = *mut c_void;
    type Kept = KernelLaunch;
    #[inline]
    fn reals(&self) -> *mut c_void {
        self.real.get()
    }
    fn keep(&self) -> KernelLaunch {
        KernelLaunch::of(self)
    }
}
