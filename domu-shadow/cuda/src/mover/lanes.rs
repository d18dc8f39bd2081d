//! Reading and writing blocks beside the program, on streams of our own.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use channel::memory::SharedPages;
use runtime::delta::device::{Event as _, Result};
use runtime::locks::lock;
use runtime::mover::HostBytes;
use runtime::mover::MoveError;
use runtime::mover::transfer::Pending;

use super::error;
use crate::abi::CUdeviceptr;
use crate::beside::home::{Home, complain};
use crate::beside::pin::Pin;
use crate::beside::stream::{Event, Stream};
use crate::core::context::Context;
use crate::core::memory::{self, Block, Pinned};
use crate::core::obstacles;

/// Streams of a context, in turn: while one transfer ends the next is under way.
const STREAMS: usize = 2;

struct Lane {
    streams: [Stream; STREAMS],
    next: AtomicUsize,
}

impl Lane {
    fn open(home: &Home) -> Result<Lane> {
        Ok(Lane {
            streams: [Stream::new(home)?, Stream::new(home)?],
            next: AtomicUsize::new(0),
        })
    }

    fn next(&self) -> &Stream {
        &self.streams[self.next.fetch_add(1, Ordering::Relaxed) % STREAMS]
    }
}

#[derive(Default)]
struct Open {
    /// By context, which the lane keeps, so that its address stands for it.
    lanes: BTreeMap<usize, Lane>,
    /// To be pinned.
    pages: Option<SharedPages>,
    /// Once for all contexts. `None`: not yet, or refused.
    pin: Option<Pin>,
    is_refused: bool,
}

impl Open {
    fn lane(&mut self, context: &Arc<Context>) -> Result<&Lane> {
        let home = Home::new(Arc::clone(context));
        if let Some(pages) = &self.pages
            && self.pin.is_none()
            && !self.is_refused
        {
            self.pin = Pin::new(&home, pages);
            self.is_refused = self.pin.is_none();
        }
        match self.lanes.entry(Arc::as_ptr(context).addr()) {
            Entry::Occupied(lane) => Ok(lane.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Lane::open(&home)?)),
        }
    }
}

/// Which way contents go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Out,
    In,
}

/// The streams of one move, by context.
#[derive(Default)]
pub(super) struct Lanes {
    open: Mutex<Open>,
    /// Blocks by id: those seen last, freed ones not kept alive.
    known: Mutex<BTreeMap<u64, Weak<Block>>>,
}

impl Lanes {
    /// From now on these are the blocks.
    pub(super) fn know(&self, blocks: &[Arc<Block>]) {
        let by_id = |block: &Arc<Block>| (block.id().into(), Arc::downgrade(block));
        *lock(&self.known) = blocks.iter().map(by_id).collect();
    }

    /// The block, kept mapped.
    fn find(
        &self,
        object: u64,
        offset: u64,
        len: u64,
        direction: Direction,
    ) -> std::result::Result<Pinned, MoveError> {
        let block = lock(&self.known).get(&object).and_then(Weak::upgrade);
        let block = block.ok_or(MoveError::Gone(object))?;
        let size = block.size();
        if offset.checked_add(len).is_none_or(|end| end > size) {
            return Err(MoveError::OutOfRange {
                object,
                offset,
                len,
                size,
            });
        }
        let is_there = || {
            memory::blocks()
                .iter()
                .any(|other| Arc::ptr_eq(other, &block))
        };
        // The program is about to free it, or to map it elsewhere, and is first; but what it had comes before.
        if direction == Direction::Out && block.is_awaited() {
            return Err(MoveError::Gone(object));
        }
        block.pin_for_contents().ok_or_else(|| match is_there() {
            true => error::out_of_reach(),
            false => MoveError::Gone(object),
        })
    }

    /// Has `pages` pinned from now on where the driver does that, in one of `contexts`, for all.
    pub(super) fn pin(&self, pages: &SharedPages, contexts: &[Arc<Context>]) {
        let mut open = lock(&self.open);
        if open.pages.as_ref().map(SharedPages::as_ptr) != Some(pages.as_ptr()) {
            *open = Open::default();
            open.pages = Some(pages.clone());
        }
        for context in contexts {
            if let Err(error) = open.lane(context) {
                complain("no stream for a capture: ", &error);
            }
        }
    }

    /// Starts a transfer of a block's bytes.
    fn start(
        &self,
        (object, offset, len): (u64, u64, u64),
        direction: Direction,
        command: impl FnOnce(&Stream, CUdeviceptr) -> Result<Event>,
    ) -> std::result::Result<Box<dyn Pending>, MoveError> {
        let pinned = self.find(object, offset, len, direction)?;
        let at = pinned.address() + offset;
        let event = if len == 0 {
            None
        } else {
            let mut open = lock(&self.open);
            let lane = open.lane(pinned.context());
            let started = lane.and_then(|lane| command(lane.next(), at));
            Some(started.map_err(|error| {
                obstacles::note_error(error.code);
                error::driver(error)
            })?)
        };
        Ok(Box::new(Copy {
            event,
            _pinned: pinned,
        }))
    }

    /// Starts to read `to.len()` bytes of a block.
    ///
    /// # Safety
    /// The memory stays valid until the answer is dropped.
    pub(super) unsafe fn read(
        &self,
        object: u64,
        offset: u64,
        to: &dyn HostBytes,
    ) -> std::result::Result<Box<dyn Pending>, MoveError> {
        let (host, bytes) = (to.as_ptr(), to.len());
        // SAFETY: the block is pinned, and the caller's contract holds for the host's memory, until the event is waited for.
        let command = |stream: &Stream, at| unsafe { stream.read(host, at, bytes, false) };
        self.start((object, offset, bytes as u64), Direction::Out, command)
    }

    /// Starts to write `from.len()` bytes of a block.
    ///
    /// # Safety
    /// The memory stays valid until the answer is dropped.
    pub(super) unsafe fn write(
        &self,
        object: u64,
        offset: u64,
        from: &dyn HostBytes,
    ) -> std::result::Result<Box<dyn Pending>, MoveError> {
        let (host, bytes) = (from.as_ptr(), from.len());
        // SAFETY: as for `read`.
        let command = |stream: &Stream, at| unsafe { stream.write(at, host, bytes) };
        self.start((object, offset, bytes as u64), Direction::In, command)
    }

    /// Starts to write zeros.
    pub(super) fn zero(
        &self,
        object: u64,
        offset: u64,
        len: u64,
    ) -> std::result::Result<Box<dyn Pending>, MoveError> {
        // SAFETY: the block is pinned until the event is waited for.
        let command = |stream: &Stream, at| unsafe { stream.zero(at, len as usize) };
        self.start((object, offset, len), Direction::In, command)
    }

    /// Releases all streams, and the pages. Transfers must have ended.
    pub(super) fn close(&self) {
        *lock(&self.open) = Open::default();
    }
}

/// A transfer under way.
struct Copy {
    /// `None` once waited for.
    event: Option<Event>,
    // The block stays mapped until the transfer has ended.
    _pinned: Pinned,
}

// SAFETY: events and pins belong to no thread.
unsafe impl Send for Copy {}

impl Pending for Copy {
    fn is_done(&self) -> bool {
        let is_complete = |event: &Event| event.is_complete().unwrap_or(true);
        self.event.as_ref().is_none_or(is_complete)
    }

    fn wait(&mut self) -> std::result::Result<(), MoveError> {
        let Some(event) = self.event.take() else {
            return Ok(());
        };
        event.wait().map_err(|error| {
            obstacles::note_error(error.code);
            error::driver(error)
        })
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = self.wait() {
            log::warn!("a transfer that nobody waited for failed: {error}");
        }
    }
}
