//! Handles: numbers that stand for objects. None is used twice, so a handle that was destroyed is never good again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use crate::abi::Handle;
use crate::lock::{read, write};

const FIRST: usize = 0x5c00_0000_0000;
const STEP: usize = 0x40;

static NEXT: AtomicUsize = AtomicUsize::new(FIRST);

/// A handle that was never given before.
pub fn new_handle() -> Handle {
    NEXT.fetch_add(STEP, Ordering::Relaxed)
}

/// The objects of one kind.
pub struct Table<T> {
    entries: RwLock<BTreeMap<Handle, Arc<T>>>,
}

impl<T> Table<T> {
    pub const fn new() -> Self {
        Table {
            entries: RwLock::new(BTreeMap::new()),
        }
    }

    /// Takes an object in, under a new handle or one that was made for it.
    pub fn insert(&self, handle: Handle, object: Arc<T>) {
        write(&self.entries).insert(handle, object);
    }

    pub fn get(&self, handle: Handle) -> Option<Arc<T>> {
        read(&self.entries).get(&handle).cloned()
    }

    pub fn remove(&self, handle: Handle) -> Option<Arc<T>> {
        write(&self.entries).remove(&handle)
    }

    pub fn retain(&self, keep: impl Fn(&T) -> bool) {
        write(&self.entries).retain(|_, object| keep(object));
    }

    pub fn all(&self) -> Vec<Arc<T>> {
        read(&self.entries).values().cloned().collect()
    }
}
