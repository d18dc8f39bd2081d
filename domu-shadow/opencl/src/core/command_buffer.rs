//! Command buffers (`cl_khr_command_buffer`): recorded once, enqueued often.
//!
//! The recorded commands are kept with their objects and kernel arguments, and recorded again after a move. Synchronization
//! points are numbered here, from 1, because a driver may number them differently the second time.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard};

use opencl_sys::CL_INVALID_COMMAND_BUFFER_KHR;

use super::command::{Kept, Operands, Place};
use super::context::Context;
use super::driver_handle::DriverHandle;
use super::handle::{self, Slot, object};
use super::kernel;
use super::kernel::launch::KernelLaunch;
use super::mem::TRACKING;
use super::queue::Queue;
use super::recorded_command::{Objects, Options, RecordedCommand};
use crate::CLResult;
use crate::driver::dispatch::released;
use crate::driver::functions::{create_extended, extended};
use crate::driver::record::Spot;
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
    commands: Vec<RecordedCommand>,
    /// The driver's synchronization points, by our numbers less one.
    points: Vec<u32>,
    is_final: bool,
    /// The driver's kernels that were made for recording again.
    kernels: Vec<*mut c_void>,
}

// SAFETY: what makes it not `Send` is pointers: the driver's handles, usable from any thread, and the program's own, which it
// has given away until the command buffer is gone, also for another thread's use.
unsafe impl Send for Recording {}

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
            points.extend(command.record(self.context(), real, points, kernel)?);
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
        let command = RecordedCommand {
            options,
            objects,
            give: Box::new(give),
        };
        // Held over the driver's call: the list has the driver's order.
        let mut recording = self.recording();
        let point = command.record(self.context(), self.real.get(), &recording.points, kernel)?;
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
