//! Where changed chunks go.

use channel::guest::StepError;

/// What the bytes of an extent are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExtentKind {
    /// In the piece's memory.
    Data,
    /// All zero, and not in the piece's memory.
    Zero,
}

/// A run of one buffer's bytes: whole chunks, the last of a buffer perhaps shorter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Extent {
    /// The number under which the buffer is tracked.
    pub buffer: u64,
    /// The whole buffer, in bytes.
    pub buffer_size: u64,
    /// Where in the buffer the run starts, in bytes.
    pub offset: u64,
    /// Length in bytes, at least 1.
    pub len: u32,
    pub kind: ExtentKind,
}

/// Memory for one piece, offered by the sink.
#[derive(Debug)]
pub struct Place {
    pub(super) token: u64,
    pub(super) memory: *mut u8,
    pub(super) capacity: usize,
    pub(super) max_extents: usize,
}

// SAFETY: the pointer is only handed to the driver; `Place::new`'s contract does not bind it to a thread.
unsafe impl Send for Place {}

impl Place {
    /// A place of `capacity` bytes (at least 4096) and at most `max_extents` extents (at least 1). The sink
    /// recognises it by `token`. Memory that the driver has pinned is written at the bus's rate; any will do.
    ///
    /// # Safety
    /// `memory` must stay valid for writes of `capacity` bytes, by devices too and with no reference to it in Rust,
    /// until the piece with this token is delivered or the pass has returned.
    pub unsafe fn new(token: u64, memory: *mut u8, capacity: usize, max_extents: usize) -> Place {
        Place {
            token,
            memory,
            capacity,
            max_extents,
        }
    }
}

/// A filled place. The bytes of data extents stand in the order of `extents`, each starting at a multiple of 8:
/// what `channel::image::BatchLayout` gives when the extents are pushed in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilledPlace {
    /// The place's token.
    pub token: u64,
    /// At least one.
    pub extents: Vec<Extent>,
    /// Bytes used in the place: the end of the last data extent.
    pub payload_len: usize,
}

/// Takes what a pass finds.
pub trait Sink {
    /// A place for the next piece, `None` when there is none now: it is asked again soon.
    ///
    /// # Errors
    /// Ends the pass.
    fn place(&mut self) -> Result<Option<Place>, StepError>;

    /// The piece's bytes have arrived. Each place is delivered at most once; pieces may come in another order than
    /// their places were asked for. Within a pass no byte of a buffer is delivered twice.
    ///
    /// # Errors
    /// Ends the pass.
    fn deliver(&mut self, piece: FilledPlace) -> Result<(), StepError>;

    /// Called now and then while a pass has nothing to deliver.
    ///
    /// # Errors
    /// Ends the pass.
    fn alive(&mut self) -> Result<(), StepError> {
        Ok(())
    }
}
