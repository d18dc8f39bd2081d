//! A command recorded in a command buffer, which keeps it to record it again.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{CL_INVALID_OPERATION, CL_INVALID_SYNC_POINT_WAIT_LIST_KHR};

use super::context::Context;
use super::kernel::Kernel;
use super::kernel::launch::KernelLaunch;
use super::mem::Mem;
use super::queue::Queue;
use crate::CLResult;
use crate::driver::record::{Prototypes, Spot};

/// What a recorded command works on. The command buffer keeps it alive.
#[derive(Default)]
pub struct Objects {
    reads: Vec<Arc<Mem>>,
    writes: Vec<Arc<Mem>>,
    pub(super) run: Option<KernelLaunch>,
}

impl Objects {
    pub fn copied(from: Arc<Mem>, to: Arc<Mem>) -> Objects {
        Objects {
            reads: vec![from],
            writes: vec![to],
            run: None,
        }
    }

    pub fn filled(to: Arc<Mem>) -> Objects {
        Objects {
            writes: vec![to],
            ..Objects::default()
        }
    }

    /// A kernel with its arguments of now.
    pub fn run(kernel: &Kernel) -> Objects {
        Objects {
            run: Some(KernelLaunch::of(kernel)),
            ..Objects::default()
        }
    }

    pub(super) fn mems(&self) -> impl Iterator<Item = &Mem> {
        let named = self.reads.iter().chain(&self.writes).map(|mem| &**mem);
        named.chain(self.run.iter().flat_map(KernelLaunch::mems))
    }

    pub(super) fn mark(&self) {
        self.reads.iter().for_each(|mem| mem.mark_used());
        self.writes.iter().for_each(|mem| mem.mark_written());
        if let Some(run) = &self.run {
            run.mark_arguments();
        }
    }
}

/// Gives a command to the driver: the source, the target or the kernel are the driver's handles.
pub(super) type Give = dyn Fn(&Spot<'_>, &[*mut c_void]) -> CLResult<()>;

/// What the program passed beside the command itself.
pub struct Options {
    pub queue: Option<Arc<Queue>>,
    pub properties: Option<Vec<u64>>,
    /// Our numbers.
    pub waits: Vec<u32>,
    pub wants_point: bool,
}

pub(super) struct RecordedCommand {
    pub(super) options: Options,
    pub(super) objects: Objects,
    pub(super) give: Box<Give>,
}

impl RecordedCommand {
    /// Records it, with the driver's kernel where it runs one. The driver's synchronization point, if one is wanted.
    pub(super) fn record(
        &self,
        context: &Context,
        real: *mut c_void,
        points: &[u32],
        kernel: Option<*mut c_void>,
    ) -> CLResult<Option<u32>> {
        let options = &self.options;
        let driver_point = |number: &u32| {
            let at = number.checked_sub(1).map(|at| at as usize);
            at.and_then(|at| points.get(at).copied())
                .ok_or(CL_INVALID_SYNC_POINT_WAIT_LIST_KHR)
        };
        let waits = options.waits.iter().map(driver_point);
        let waits = waits.collect::<CLResult<Vec<u32>>>()?;
        let mut point = 0;
        let device = context.first_device();
        let queue = options.queue.as_ref();
        let properties = options.properties.as_ref();
        let spot = Spot {
            functions: &context.functions,
            prototypes: Prototypes::of_device(device).ok_or(CL_INVALID_OPERATION)?,
            device,
            buffer: real,
            queue: queue.map_or(std::ptr::null_mut(), |queue| queue.real.get()),
            properties: properties.map_or(std::ptr::null(), |list| list.as_ptr()),
            waits: &waits,
            point: if options.wants_point {
                &raw mut point
            } else {
                std::ptr::null_mut()
            },
        };
        let mems = self.objects.reads.iter().chain(&self.objects.writes);
        let mut reals: Vec<_> = mems.map(|mem| mem.real.get()).collect();
        reals.extend(kernel);
        (self.give)(&spot, &reals)?;
        Ok(options.wants_point.then_some(point))
    }
}
