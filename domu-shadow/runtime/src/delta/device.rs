//! What a pass has a device do.

use std::fmt::Debug;
use std::marker::PhantomData;

use channel::image::Api;

use super::window::Entry;
use crate::poll;

/// A driver's function failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the {api} driver's {call} failed with error {code}")]
pub struct DriverError {
    pub api: Api,
    pub call: &'static str,
    /// One of the API's error codes.
    pub code: i32,
}

/// What a driver answers.
pub type Result<T> = std::result::Result<T, DriverError>;

/// What detect does beside comparing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    /// Nothing: the table stays as it is.
    Only,
    /// Zero chunks go into the table.
    AndSend,
    /// The same, and every chunk counts as changed: nothing of this buffer was sent yet.
    Fresh,
}

/// Chunks of one buffer to compare.
#[derive(Clone, Copy, Debug)]
pub struct Detect {
    pub first: u32,
    pub end: u32,
    /// Which flags memory, 0 or 1.
    pub flags: usize,
    /// The first group's flags in it.
    pub flags_at: u32,
    pub compare: Compare,
}

/// Entries of a window to copy from one buffer.
#[derive(Clone, Copy, Debug)]
pub struct Gather {
    pub window: usize,
    pub first: usize,
    pub end: usize,
}

/// The device that passes run on, which fails with the driver's errors: two memories for flags, staging windows with lists of entries, a queue for the kernels, and one
/// or more for reads. Each queue runs in order.
pub trait Device: Send {
    /// A buffer as the driver names it.
    type Handle: Copy;
    /// A buffer with its table of digests.
    type Watched: Debug + Send;
    type Event: Event;

    /// Makes the table of a buffer of so many chunks.
    ///
    /// # Safety
    /// `handle` is a live buffer of this device, here and in all calls that name what is returned.
    unsafe fn watch(&self, handle: Self::Handle, chunks: u32) -> Result<Self::Watched>;

    /// Starts comparing chunks of a buffer of `size` bytes with its table.
    fn detect(&self, watched: &Self::Watched, size: u64, what: Detect) -> Result<Self::Event>;

    /// Starts copying what entries list into their window, and puts the copies' digests into the table.
    fn gather(&self, watched: &Self::Watched, size: u64, what: Gather) -> Result<Self::Event>;

    /// Has the kernels run that were started.
    fn flush(&self) -> Result<()>;

    /// Starts reading the start of flags memory `flags`, after `after`.
    fn read_flags<'h>(
        &self,
        flags: usize,
        bytes: &'h mut [u8],
        after: Option<&Self::Event>,
    ) -> Result<HostCopy<'h, Self::Event>>;

    /// Starts writing entries of a window, from byte `at` of its list on.
    fn write_entries<'h>(
        &self,
        window: usize,
        at: usize,
        entries: &'h [Entry],
    ) -> Result<HostCopy<'h, Self::Event>>;

    /// How many queues read.
    fn read_queues(&self) -> usize;

    /// Starts reading a window's bytes (from, how many) on a queue that reads, after `after`.
    ///
    /// # Safety
    /// `target` stays valid for writes of so many bytes until the event is complete.
    unsafe fn read_window(
        &self,
        queue: usize,
        window: usize,
        bytes: (usize, usize),
        target: *mut u8,
        after: &Self::Event,
    ) -> Result<Self::Event>;

    /// Has a queue run the reads that were started.
    fn flush_reads(&self, queue: usize) -> Result<()>;

    /// Waits for everything that was started, after a failure.
    fn finish(&self);

    /// Lets go of the last buffers: a driver may keep what is set as an argument alive.
    fn park(&self) -> Result<()>;

    /// Reads a buffer's table.
    fn read_table(&self, watched: &Self::Watched, bytes: &mut [u8]) -> Result<()>;
}

/// The end of a command.
pub trait Event {
    /// Whether the command has ended.
    ///
    /// # Errors
    /// Its error, if it failed.
    fn is_complete(&self) -> Result<bool>;

    /// # Errors
    /// The command's.
    fn wait(&self) -> Result<()>;

    /// Nanoseconds from start to end on the device; 0 where it keeps none.
    fn device_ns(&self) -> u64;
}

/// A copy from or to the host's memory, which is not let go of before it has ended.
pub struct HostCopy<'h, E: Event> {
    event: E,
    _host: PhantomData<&'h mut [u8]>,
}

impl<E: Event> HostCopy<'_, E> {
    /// Of the command that `event` belongs to.
    pub fn new(event: E) -> Self {
        HostCopy {
            event,
            _host: PhantomData,
        }
    }

    /// Waits for its end, calling `alive` meanwhile.
    ///
    /// # Errors
    /// The command's, or what `alive` says.
    pub fn wait<F: From<DriverError>>(
        self,
        alive: impl FnMut() -> std::result::Result<(), F>,
    ) -> std::result::Result<(), F> {
        poll::until(|| Ok(self.event.is_complete()?), alive)
    }
}

impl<E: Event> Drop for HostCopy<'_, E> {
    fn drop(&mut self) {
        if let Err(error) = self.event.wait() {
            log::warn!("a transfer of the delta engine's failed: {error}");
        }
    }
}
