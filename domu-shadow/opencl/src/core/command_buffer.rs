//! Command buffers (`cl_khr_command_buffer`): recorded once, enqueued often.
//!
//! The list of recorded commands is kept, with the objects and kernel arguments that they had, and after a move it is recorded
//! again. Synchronization points are numbered here, from 1: a driver's numbers may be others the second time.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard};

use opencl_sys::{
    CL_INVALID_COMMAND_BUFFER_KHR, CL_INVALID_OPERATION, CL_INVALID_SYNC_POINT_WAIT_LIST_KHR,
};

use super::command::{Kept, Operands, Place};
use super::context::Context;
use super::driver_handle::DriverHandle;
use super::handle::{self, Slot, object};
use super::kernel::launch::KernelLaunch;
use super::kernel::{self, Kernel};
use super::mem::{Mem, TRACKING};
use super::queue::Queue;
use crate::CLResult;
use crate::driver::dispatch::released;
use crate::driver::functions::{create_extended, extended};
use crate::driver::record::{Prototypes, Spot};
use runtime::locks::lock;
use runtime::residency::{self, ensure_resident};

pub struct CommandBuffer {
    slot: Slot<CommandBuffer>,
    pub real: DriverHandle,
    pub queue: Arc<Queue>,
    /// As the program passed them, ending zero included; `None` where it passed NULL.
    pub properties: Option<Vec<u64>>,
    recording: Mutex<Recording>,
}

#[derive(Default)]
struct Recording {
    commands: Vec<Command>,
    /// The driver's synchronization points, by our numbers less one.
    points: Vec<u32>,
    is_final: bool,
    /// The driver's kernels that were made for recording again.
    kernels: Vec<*mut c_void>,
}

/// What a recorded command works on. The command buffer keeps it alive.
#[derive(Default)]
pub struct Objects {
    reads: Vec<Arc<Mem>>,
    writes: Vec<Arc<Mem>>,
    run: Option<KernelLaunch>,
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

    fn mems(&self) -> impl Iterator<Item = &Mem> {
        let named = self.reads.iter().chain(&self.writes).map(|mem| &**mem);
        named.chain(self.run.iter().flat_map(KernelLaunch::mems))
    }

    fn mark(&self) {
        self.reads.iter().for_each(|mem| mem.mark_used());
        self.writes.iter().for_each(|mem| mem.mark_written());
        if let Some(run) = &self.run {
            run.mark_arguments();
        }
    }
}

/// Gives a command to the driver: the source, the target or the kernel are the driver's handles.
type Give = dyn Fn(&Spot<'_>, &[*mut c_void]) -> CLResult<()>;

/// What the program passed beside the command itself.
pub struct Options {
    pub queue: Option<Arc<Queue>>,
    pub properties: Option<Vec<u64>>,
    /// Our numbers.
    pub waits: Vec<u32>,
    pub wants_point: bool,
}

struct Command {
    options: Options,
    objects: Objects,
    give: Box<Give>,
}

// SAFETY: what makes it not `Send` is pointers: the driver's handles, usable from any thread, and the program's own, which it
// has given away until the command buffer is gone, also for another thread's use.
unsafe impl Send for Recording {}

impl Command {
    /// Records it, with the driver's kernel where it runs one. The driver's synchronization point, if one is wanted.
    fn record(
        &self,
        buffer: &CommandBuffer,
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
        let context = buffer.context();
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

object!(CommandBuffer, CL_INVALID_COMMAND_BUFFER_KHR);

impl CommandBuffer {
    /// # Errors
    /// The driver's.
    pub fn create(queue: Arc<Queue>, properties: Option<Vec<u64>>) -> CLResult<Arc<CommandBuffer>> {
        let buffer = CommandBuffer {
            slot: Slot::reserve(),
            real: DriverHandle::new(std::ptr::null_mut()),
            queue,
            properties,
            recording: Mutex::default(),
        };
        buffer.recreate()?;
        Ok(Arc::new(buffer))
    }

    pub fn context(&self) -> &Arc<Context> {
        &self.queue.context
    }

    fn recording(&self) -> MutexGuard<'_, Recording> {
        lock(&self.recording)
    }

    /// Makes the driver's command buffer: at creation, and after a move with all that was recorded.
    ///
    /// # Errors
    /// The driver's.
    pub fn recreate(&self) -> CLResult<()> {
        let queue = self.queue.real.get();
        let list = self.properties.as_ref();
        let list = list.map_or(std::ptr::null(), |list| list.as_ptr());
        let context = self.context();
        let real = create_extended!(context, clCreateCommandBufferKHR(1, &raw const queue, list))?;
        self.real.set(real);
        let mut recording = self.recording();
        let Recording {
            commands,
            points,
            is_final,
            kernels,
        } = &mut *recording;
        points.clear();
        for command in commands.iter() {
            let kernel = command
                .objects
                .run
                .as_ref()
                .map(KernelLaunch::create_driver)
                .transpose()?;
            kernels.extend(kernel);
            points.extend(command.record(self, real, points, kernel)?);
        }
        if *is_final {
            extended!(context, clFinalizeCommandBufferKHR(real))?;
        }
        Ok(())
    }

    /// Records a command; our number of its synchronization point. `kernel` is the driver's, where the command runs one.
    ///
    /// # Errors
    /// `CL_INVALID_SYNC_POINT_WAIT_LIST_KHR`, the driver's.
    pub fn record(
        &self,
        options: Options,
        objects: Objects,
        kernel: Option<*mut c_void>,
        give: impl Fn(&Spot<'_>, &[*mut c_void]) -> CLResult<()> + 'static,
    ) -> CLResult<Option<u32>> {
        let command = Command {
            options,
            objects,
            give: Box::new(give),
        };
        // Held over the driver's call: the list has the driver's order.
        let mut recording = self.recording();
        let point = command.record(self, self.real.get(), &recording.points, kernel)?;
        recording.points.extend(point);
        recording.commands.push(command);
        Ok(point.map(|_| recording.points.len() as u32))
    }

    /// `clFinalizeCommandBufferKHR`.
    ///
    /// # Errors
    /// The driver's.
    pub fn finalize(&self) -> CLResult<()> {
        let mut recording = self.recording();
        let real = self.real.get();
        extended!(self.context(), clFinalizeCommandBufferKHR(real))?;
        recording.is_final = true;
        Ok(())
    }

    /// It is to be enqueued: waits until the contents of all that it names are there. See [`Mem::ensure_resident`].
    #[inline]
    pub fn ensure_resident(&self) {
        if residency::is_watched() {
            self.ensure_each_resident();
        }
    }

    #[cold]
    fn ensure_each_resident(&self) {
        let recording = self.recording();
        let mems = recording.commands.iter();
        ensure_resident(mems.flat_map(|command| command.objects.mems()));
    }

    /// It was enqueued: marks what its commands write or name. Only while a capture tracks.
    #[inline]
    pub fn mark(&self) {
        if TRACKING.load(std::sync::atomic::Ordering::Relaxed) {
            self.mark_each();
        }
    }

    #[cold]
    fn mark_each(&self) {
        let recording = self.recording();
        let commands = recording.commands.iter();
        commands.for_each(|command| command.objects.mark());
    }

    /// Gives it to the driver's queue; the queue is named where the program named one.
    ///
    /// # Errors
    /// The driver's.
    pub fn enqueue(&self, place: &Place, names_queue: bool) -> CLResult<()> {
        let mut queue = place.queue;
        let (count, queues) = if names_queue {
            (1, &raw mut queue)
        } else {
            (0, std::ptr::null_mut())
        };
        let real = self.real.get();
        extended!(
            self.context(),
            clEnqueueCommandBufferKHR(count, queues, real, place.count, place.list, place.event)
        )
    }

    /// Releases the driver's command buffer; made again by [`CommandBuffer::recreate`].
    pub fn release_driver(&self) {
        if let Some(real) = self.real.take() {
            released(
                "a command buffer",
                extended!(self.context(), clReleaseCommandBufferKHR(real)),
            );
        }
        let kernels = std::mem::take(&mut self.recording().kernels);
        kernels.into_iter().for_each(kernel::release);
    }
}

impl Drop for CommandBuffer {
    fn drop(&mut self) {
        self.release_driver();
    }
}

impl Operands for &CommandBuffer {
    type Reals = Arc<CommandBuffer>;
    type Kept = Arc<CommandBuffer>;
    fn reals(&self) -> Arc<CommandBuffer> {
        handle::shared(*self)
    }
    fn keep(&self) -> Arc<CommandBuffer> {
        handle::shared(*self)
    }
}

impl Kept for Arc<CommandBuffer> {
    type Reals = Arc<CommandBuffer>;
    fn with(&self, enqueue: &dyn Fn(&Arc<CommandBuffer>) -> CLResult<()>) -> CLResult<()> {
        enqueue(self)
    }
    fn mark_written(&self) {
        self.mark();
    }
    fn ensure_resident(&self) {
        CommandBuffer::ensure_resident(self);
    }
}
