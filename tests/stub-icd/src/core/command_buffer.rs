//! Command buffers (`cl_khr_command_buffer` 0.9.8): a list of works, run one behind the other.

use std::ffi::c_void;
use std::sync::{Arc, Mutex};

use opencl_sys::{
    CL_INVALID_COMMAND_BUFFER_KHR, CL_INVALID_OPERATION, CL_INVALID_SYNC_POINT_WAIT_LIST_KHR,
    cl_int,
};

use super::queue::Queue;
use crate::ffi::CLResult;
use crate::handle::{self, Object, Slot};
use crate::loads;
use crate::lock::lock;

/// What a recorded command does each time.
pub type Work = Arc<dyn Fn() -> CLResult<()> + Send + Sync>;

pub struct CommandBuffer {
    pub slot: Slot,
    pub queue: Arc<Queue>,
    /// As passed, with the ending zero; empty if none were.
    pub properties: Vec<u64>,
    recorded: Mutex<Recorded>,
}

#[derive(Default)]
struct Recorded {
    works: Vec<Work>,
    is_final: bool,
}

impl Object for CommandBuffer {
    const KIND: &'static str = "cl_command_buffer_khr";
    const INVALID: cl_int = CL_INVALID_COMMAND_BUFFER_KHR;
}

impl CommandBuffer {
    pub fn create(queue: Arc<Queue>, properties: Vec<u64>) -> *mut c_void {
        let make = |slot| CommandBuffer {
            slot,
            queue,
            properties,
            recorded: Mutex::default(),
        };
        handle::publish(1, make).slot.handle()
    }

    pub fn is_final(&self) -> bool {
        lock(&self.recorded).is_final
    }

    /// Others in each load of the driver: nothing is said about their values.
    fn first_point() -> u32 {
        loads::number() as u32 * 1000
    }

    /// Adds a command behind those of the synchronization points, and gives its own.
    pub fn record(&self, waits: &[u32], work: Work) -> CLResult<u32> {
        let mut recorded = lock(&self.recorded);
        if recorded.is_final {
            return Err(CL_INVALID_OPERATION);
        }
        let next = Self::first_point() + recorded.works.len() as u32;
        let known = Self::first_point()..next;
        if waits.iter().any(|point| !known.contains(point)) {
            return Err(CL_INVALID_SYNC_POINT_WAIT_LIST_KHR);
        }
        recorded.works.push(work);
        Ok(next)
    }

    pub fn finalize(&self) -> CLResult<()> {
        let mut recorded = lock(&self.recorded);
        if recorded.is_final {
            return Err(CL_INVALID_OPERATION);
        }
        recorded.is_final = true;
        Ok(())
    }

    /// Everything that it does, in the order of recording.
    pub fn works(&self) -> CLResult<Vec<Work>> {
        let recorded = lock(&self.recorded);
        if recorded.is_final {
            Ok(recorded.works.clone())
        } else {
            Err(CL_INVALID_OPERATION)
        }
    }
}
