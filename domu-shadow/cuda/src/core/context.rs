//! The contexts that the program has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::abi::{CUcontext, CUdevice};

/// A context of the program's.
#[derive(Debug)]
pub struct Context {
    handle: usize,
    device: CUdevice,
    /// No other context ever has it; 0 where the driver does not say.
    id: u64,
    /// References besides the first.
    attached: AtomicU32,
    /// The program wants to end it: no new uses of ours. Changed with the state's lock.
    is_leaving: AtomicBool,
    /// The driver has been asked to end it, and may not do so. Changed with the state's lock.
    is_ending: AtomicBool,
    /// The program has destroyed it. Changed with the state's lock.
    is_gone: AtomicBool,
    /// Uses of ours, which its destruction waits for. Changed with the state's lock.
    pins: AtomicU32,
}

impl Context {
    pub fn new(handle: CUcontext, device: CUdevice, id: u64) -> Context {
        Context {
            handle: handle as usize,
            device,
            id,
            attached: AtomicU32::new(0),
            is_leaving: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            pins: AtomicU32::new(0),
        }
    }

    /// The device's ordinal.
    pub fn device(&self) -> CUdevice {
        self.device
    }

    /// The driver's.
    pub fn handle(&self) -> CUcontext {
        self.handle as CUcontext
    }

    /// The program has one more reference by `cuCtxAttach`.
    pub fn attach(&self) {
        self.attached.fetch_add(1, Ordering::Relaxed);
    }

    /// It gives one back: whether that was its only one.
    pub fn detach(&self) -> bool {
        let less = |attached: u32| attached.checked_sub(1);
        let order = Ordering::Relaxed;
        self.attached.fetch_update(order, order, less).is_err()
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub fn address(&self) -> usize {
        self.handle
    }

    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    pub(super) fn set_gone(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    pub(super) fn set_leaving(&self, is_leaving: bool) {
        self.is_leaving.store(is_leaving, Ordering::Relaxed);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    pub(super) fn set_ending(&self, is_ending: bool) {
        self.is_ending.store(is_ending, Ordering::Relaxed);
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Relaxed) > 0
    }

    pub(super) fn add_pin(&self) {
        self.pins.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_pin(&self) {
        self.pins.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All that are known, by the driver's handle.
#[derive(Debug, Default)]
pub struct Contexts {
    known: BTreeMap<usize, Arc<Context>>,
    primaries: BTreeMap<CUdevice, usize>,
    /// The program's references to them, by functions that are ours.
    references: BTreeMap<CUdevice, u64>,
}

impl Contexts {
    pub fn get(&self, handle: CUcontext) -> Option<&Arc<Context>> {
        self.known.get(&(handle as usize))
    }

    /// The one with this handle, a new one if it is not known.
    pub fn note(&mut self, handle: CUcontext, device: CUdevice, id: u64) -> Arc<Context> {
        let new = || Arc::new(Context::new(handle, device, id));
        Arc::clone(self.known.entry(handle as usize).or_insert_with(new))
    }

    /// A device's primary one is this.
    pub fn note_primary(&mut self, handle: CUcontext, device: CUdevice, id: u64) {
        self.note(handle, device, id);
        self.primaries.insert(device, handle as usize);
    }

    /// The program has one more reference to a primary one.
    pub fn retained(&mut self, device: CUdevice) {
        *self.references.entry(device).or_default() += 1;
    }

    /// It gives one back: whether that can be the last.
    pub fn released(&mut self, device: CUdevice) -> bool {
        let references = self.references.entry(device).or_default();
        *references = references.saturating_sub(1);
        *references == 0
    }

    /// A device's primary one, if it is known.
    pub fn primary(&self, device: CUdevice) -> Option<&Arc<Context>> {
        self.known.get(self.primaries.get(&device)?)
    }

    /// The program has destroyed it.
    pub fn remove(&mut self, context: &Arc<Context>) {
        let handle = context.address();
        let is_same = |known: &Arc<Context>| Arc::ptr_eq(known, context);
        if self.known.get(&handle).is_some_and(is_same) {
            self.known.remove(&handle);
            self.primaries.retain(|_, primary| *primary != handle);
        }
    }

    /// Those that live.
    pub fn live(&self) -> impl Iterator<Item = &Arc<Context>> {
        self.known.values().filter(|context| !context.is_gone())
    }

    /// One of a device's that lives.
    pub fn of_device(&self, device: CUdevice) -> Option<&Arc<Context>> {
        self.live().find(|context| context.device() == device)
    }
}
