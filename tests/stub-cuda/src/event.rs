//! Events: the end of work at a place of a stream.

use std::ffi::c_uint;
use std::sync::{Arc, Mutex};

use crate::abi::*;
use crate::capture::Place;
use crate::fence::{Fault, Fence};
use crate::lock::lock;
use crate::table::{self, Table};

/// What an event was recorded on.
#[derive(Clone)]
pub enum Recorded {
    Never,
    On(Arc<Fence>),
    /// In a capture, behind these nodes.
    Captured(Place),
}

pub struct Event {
    pub context: Handle,
    pub flags: c_uint,
    pub fault: Arc<Fault>,
    pub recorded: Mutex<Recorded>,
}

pub static EVENTS: Table<Event> = Table::new();

impl Event {
    pub fn create(context: Handle, flags: c_uint, fault: Arc<Fault>) -> Handle {
        let handle = table::new_handle();
        let event = Event {
            context,
            flags,
            fault,
            recorded: Mutex::new(Recorded::Never),
        };
        EVENTS.insert(handle, Arc::new(event));
        handle
    }

    /// What it stands for now; nothing where it was never recorded.
    ///
    /// # Errors
    /// `CUDA_ERROR_CAPTURED_EVENT` in a capture.
    pub fn fence(&self) -> Outcome<Option<Arc<Fence>>> {
        match &*lock(&self.recorded) {
            Recorded::Never => Ok(None),
            Recorded::On(fence) => Ok(Some(fence.clone())),
            Recorded::Captured(_) => Err(CUDA_ERROR_CAPTURED_EVENT),
        }
    }

    pub fn has_timing(&self) -> bool {
        self.flags & CU_EVENT_DISABLE_TIMING == 0
    }
}

/// # Errors
/// `CUDA_ERROR_INVALID_HANDLE`.
pub fn get(event: Handle) -> Outcome<Arc<Event>> {
    EVENTS.get(event).ok_or(CUDA_ERROR_INVALID_HANDLE)
}

/// Ends those of a context.
pub fn destroy_all(context: Handle) {
    EVENTS.retain(|event| event.context != context);
}
