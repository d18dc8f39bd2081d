//! Reading and writing buffers and images beside the program, on queues of our own.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use channel::memory::SharedPages;
use runtime::mover::MoveError;
use runtime::mover::memory::{self, HostBytes, OwnedBytes};
use runtime::mover::transfer::Pending;

use super::error::driver;
use super::packed::{Beside, Step, free_parts, pieces};
use super::pin::Pin;
use crate::core::context::Context;
use crate::core::device::Device;
use crate::core::handle::{self, Object};
use crate::core::mem::Mem;
use crate::driver::dispatch::{create, status, table_of};
use crate::driver::{query, workers};

/// Every live buffer and image with contents of its own, oldest first.
pub(super) fn root_buffers() -> Vec<Arc<Mem>> {
    let mut all = handle::all::<Mem>();
    all.retain(|mem| mem.parent.is_none() && (mem.is_buffer() || mem.image().is_some()));
    all
}

/// One queue of our own, released when dropped.
struct Lane {
    queue: *mut c_void,
    /// Released after the queue.
    _pin: Option<Pin>,
    /// A queue does not keep a sub-device alive in every driver (pocl 3.1).
    device: Arc<Device>,
    /// Of no use once the program has released it.
    context: Weak<Context>,
}

// SAFETY: OpenCL's queues may be used from any thread.
unsafe impl Send for Lane {}

impl Lane {
    fn open(context: &Arc<Context>, pages: Option<&SharedPages>) -> Result<Lane, MoveError> {
        let real = context.real.get();
        let device = Arc::clone(&context.devices[0]);
        let queue = create!(real, clCreateCommandQueue(real, device.real.get(), 0))
            .map_err(driver("clCreateCommandQueue"))?;
        Ok(Lane {
            queue,
            _pin: pages.and_then(|pages| Pin::new(context, pages)),
            device,
            context: Arc::downgrade(context),
        })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let queue = self.queue;
        let finished = status!(queue, clFinish(queue));
        if Arc::strong_count(&self.device) == 1 {
            workers::outlast(queue);
        }
        if let Err(code) = finished.and_then(|()| status!(queue, clReleaseCommandQueue(queue))) {
            log::warn!("releasing a capture's queue failed: OpenCL error {code}");
        }
    }
}

#[derive(Default)]
struct Open {
    /// By context.
    lanes: BTreeMap<u64, Lane>,
    /// To be pinned in each context.
    pages: Option<SharedPages>,
}

impl Open {
    fn lane(&mut self, context: &Arc<Context>) -> Result<&Lane, MoveError> {
        match self.lanes.entry(context.slot().id()) {
            Entry::Occupied(lane) => Ok(lane.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Lane::open(context, self.pages.as_ref())?)),
        }
    }
}

/// The queues of one move, by context.
#[derive(Default)]
pub(super) struct Lanes {
    open: Mutex<Open>,
    /// Buffers by id: those seen last, released ones not kept alive.
    known: Mutex<BTreeMap<u64, Weak<Mem>>>,
}

impl Lanes {
    /// From now on these are the buffers. Queues of contexts that the program has released go.
    pub(super) fn know(&self, buffers: &[Arc<Mem>]) {
        let lanes = &mut self.open().lanes;
        lanes.retain(|_, lane| lane.context.strong_count() > 0);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = buffers
            .iter()
            .map(|mem| (mem.slot().id(), Arc::downgrade(mem)))
            .collect();
    }

    fn find(&self, object: u64, offset: u64, len: u64) -> Result<Arc<Mem>, MoveError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mem = known
            .get(&object)
            .and_then(Weak::upgrade)
            .ok_or(MoveError::Gone(object))?;
        let size = mem.size as u64;
        if offset.checked_add(len).is_none_or(|end| end > size) {
            return Err(MoveError::OutOfRange {
                object,
                offset,
                len,
                size,
            });
        }
        Ok(mem)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self, context: &Arc<Context>) -> Result<*mut c_void, MoveError> {
        Ok(self.open().lane(context)?.queue)
    }

    /// Has `pages` pinned from now on, where drivers do that: in `contexts` at once, in others with their first transfer.
    pub(super) fn pin(&self, pages: &SharedPages, contexts: impl Iterator<Item = Arc<Context>>) {
        let mut open = self.open();
        if open.pages.as_ref().map(SharedPages::as_ptr) != Some(pages.as_ptr()) {
            // A lane has the pages of its first days.
            open.lanes.clear();
            open.pages = Some(pages.clone());
        }
        for context in contexts {
            if let Err(error) = open.lane(&context) {
                log::warn!("no queue for a capture: {error}");
            }
        }
    }

    /// Starts to read `to.len()` bytes of a buffer or of an image's packed contents.
    ///
    /// # Safety
    /// The memory stays valid until the answer is dropped.
    pub(super) unsafe fn read(
        &self,
        object: u64,
        offset: u64,
        to: &dyn HostBytes,
    ) -> Result<Box<dyn Pending>, MoveError> {
        let mem = self.find(object, offset, to.len() as u64)?;
        let lane = Beside::new(self.queue(&mem.context)?, &mem);
        // Events go where they are waited for, should a later piece fail.
        let mut commands = Commands::on(&mem);
        let start = offset as usize;
        for (at, piece) in pieces(&mem, start..start + to.len()) {
            match piece {
                Step::Whole(part) => {
                    let pointer = to.as_ptr().wrapping_add(at - start);
                    commands.events.push(lane.start_read(&part, pointer)?);
                }
                Step::Pixel { pixel, bytes } => {
                    let content = lane.read_pixel(&pixel)?;
                    memory::put(to, at - start, &content[bytes]);
                }
            }
        }
        lane.flush()?;
        Ok(Box::new(commands))
    }

    /// Starts to write `from.len()` bytes into a buffer or an image's packed contents. What the program has mapped for
    /// writing over host memory is left out: there its own bytes are the newest.
    ///
    /// # Safety
    /// The memory stays valid until the answer is dropped.
    pub(super) unsafe fn write(
        &self,
        object: u64,
        offset: u64,
        from: &dyn HostBytes,
    ) -> Result<Box<dyn Pending>, MoveError> {
        let mem = self.find(object, offset, from.len() as u64)?;
        let lane = Beside::new(self.queue(&mem.context)?, &mem);
        // Events go where they are waited for, should a later piece fail.
        let mut commands = Commands::on(&mem);
        let start = offset as usize;
        for (at, piece) in pieces(&mem, start..start + from.len()) {
            match piece {
                Step::Whole(part) => {
                    for (at, part) in free_parts(&mem, at, part) {
                        let pointer = from.as_ptr().wrapping_add(at - start);
                        commands.events.push(lane.start_write(&part, pointer)?);
                    }
                }
                Step::Pixel { pixel, bytes } => {
                    for (_, pixel) in free_parts(&mem, at, pixel) {
                        let mut content = lane.read_pixel(&pixel)?;
                        memory::get(from, at - start, &mut content[bytes.clone()]);
                        lane.write_pixel(&pixel, &content)?;
                    }
                }
            }
        }
        lane.flush()?;
        Ok(Box::new(commands))
    }

    /// Starts to write zeros into a buffer or an image's packed contents, as [`Lanes::write`] does.
    pub(super) fn write_zero(
        &self,
        object: u64,
        offset: u64,
        len: u64,
    ) -> Result<Box<dyn Pending>, MoveError> {
        let mem = self.find(object, offset, len)?;
        let queue = self.queue(&mem.context)?;
        if !mem.is_buffer()
            || mem.has_host_storage()
            || table_of(queue).clEnqueueFillBuffer.is_none()
        {
            let zeros = OwnedBytes::zeroed(len as usize);
            // SAFETY: the two are dropped together, what is pending first.
            let pending = unsafe { self.write(object, offset, &zeros) }?;
            return Ok(Box::new(WithZeros {
                pending,
                _zeros: zeros,
            }));
        }
        let lane = Beside::new(queue, &mem);
        let mut commands = Commands::on(&mem);
        commands
            .events
            .push(lane.start_zero(offset as usize, len as usize)?);
        lane.flush()?;
        Ok(Box::new(commands))
    }

    /// Before the release of sub-devices, all memory objects being released already: see [`workers::outlast`].
    pub(super) fn release(&self) {
        let open = std::mem::take(&mut *self.open());
        let lanes = open.lanes.values();
        lanes.for_each(|lane| workers::outlast(lane.queue));
    }

    /// Releases all queues, and the pages; transfers must have ended or are waited for here.
    pub(super) fn close(&self) {
        *self.open() = Open::default();
    }
}

/// Commands on a memory object under way.
struct Commands {
    events: Vec<*mut c_void>,
    _mem: Arc<Mem>,
}

// SAFETY: the events are OpenCL's, usable from any thread.
unsafe impl Send for Commands {}

impl Commands {
    fn on(mem: &Arc<Mem>) -> Commands {
        Commands {
            events: Vec::new(),
            _mem: Arc::clone(mem),
        }
    }
}

impl Pending for Commands {
    fn is_done(&self) -> bool {
        self.events.iter().all(|&event| query::has_ended(event))
    }

    fn wait(&mut self) -> Result<(), MoveError> {
        let mut answer = Ok(());
        for event in std::mem::take(&mut self.events) {
            let waited = status!(event, clWaitForEvents(1, &raw const event))
                .map_err(driver("clWaitForEvents"));
            let released = status!(event, clReleaseEvent(event)).map_err(driver("clReleaseEvent"));
            answer = answer.and(waited).and(released);
        }
        answer
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        if let Err(error) = self.wait() {
            log::warn!("a transfer that nobody waited for failed: {error}");
        }
    }
}

/// A write of zeros that a driver cannot fill in.
struct WithZeros {
    // Dropped before the memory.
    pending: Box<dyn Pending>,
    _zeros: OwnedBytes,
}

impl Pending for WithZeros {
    fn is_done(&self) -> bool {
        self.pending.is_done()
    }

    fn wait(&mut self) -> Result<(), MoveError> {
        self.pending.wait()
    }
}
