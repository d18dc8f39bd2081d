//! Memory whose contents move.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use channel::image::{Api, ObjectId};
use runtime::locks::lock;
use runtime::residency::{Residency, Resident};

use super::context::Context;
use crate::abi::CUdeviceptr;

/// Where a block's memory is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Memory of `cuMemAlloc`, at its address.
    Ordinary(CUdeviceptr),
    /// Memory of `cuMemCreate`, by the program's handle.
    Physical(u64),
}

/// An object whose contents move: an ordinary allocation, or a physical one of the program's own.
pub struct Block {
    id: ObjectId,
    size: u64,
    place: Place,
    /// One in which it is reached. That of a physical allocation changes when the program destroys it.
    context: Mutex<Arc<Context>>,
    residency: Residency,
    /// The program has freed it, or it is left to the driver now. Changed with the state's lock.
    is_gone: AtomicBool,
    /// Changed with the state's lock.
    pins: AtomicU32,
    /// Threads of the program's that wait until there are none. Changed with the state's lock.
    waiting: AtomicU32,
}

impl Block {
    /// With a number that no other has.
    pub fn new(place: Place, size: usize, context: Arc<Context>) -> Block {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        Block {
            id: ObjectId::new(Api::CUDA, number),
            size: size as u64,
            place,
            context: Mutex::new(context),
            residency: Residency::default(),
            is_gone: AtomicBool::new(false),
            pins: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
        }
    }

    /// Never 0, never used again.
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// Bytes of its contents.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// One in which it is reached.
    pub fn context(&self) -> Arc<Context> {
        Arc::clone(&lock(&self.context))
    }

    pub(super) fn set_context(&self, context: Arc<Context>) {
        *lock(&self.context) = context;
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    pub(super) fn set_gone(&self, is_gone: bool) {
        self.is_gone.store(is_gone, Ordering::Relaxed);
    }

    pub fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Relaxed) > 0
    }

    /// Whether the program waits for it: then it is not pinned again, and uses that take long end soon.
    pub fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    pub(super) fn add_waiting(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_waiting(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn add_pin(&self) {
        self.pins.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_pin(&self) {
        self.pins.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Resident for Block {
    fn id(&self) -> u64 {
        self.id.into()
    }

    fn bytes(&self) -> u64 {
        self.size
    }

    fn residency(&self) -> &Residency {
        &self.residency
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, {:?}", self.size, self.place)
    }
}
