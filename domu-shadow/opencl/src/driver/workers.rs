//! Outlasting a driver's worker threads.

use std::ffi::c_void;
use std::time::{Duration, Instant};

use opencl_sys::{CL_DEVICE_PARENT_DEVICE, CL_QUEUE_DEVICE, CL_QUEUE_REFERENCE_COUNT};

use super::dispatch::ask;
use super::query;

/// How long workers may take to let go of a queue whose commands are complete.
const LETTING_GO: Duration = Duration::from_secs(1);

/// Before the release of a sub-device's queue: waits until nobody but us refers to the queue. Its commands must be
/// complete, its events and the memory objects released.
///
/// A worker of pocl (3.1: `clReleaseEvent.c`) still reads the queue's device when a command is complete already, and
/// there a context holds only root devices, so that a sub-device released early is read when freed.
pub fn outlast(queue: *mut c_void) {
    if !is_on_sub_device(queue) {
        return;
    }
    let start = Instant::now();
    while number(queue, CL_QUEUE_REFERENCE_COUNT) > 1 {
        if start.elapsed() > LETTING_GO {
            log::warn!("a driver still refers to the queue of a sub-device, which is released");
            return;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

fn is_on_sub_device(queue: *mut c_void) -> bool {
    let device = std::ptr::with_exposed_provenance_mut(number(queue, CL_QUEUE_DEVICE) as usize);
    query::device_number(device, CL_DEVICE_PARENT_DEVICE).is_ok_and(|parent| parent != 0)
}

/// 0 where the driver doesn't answer.
fn number(queue: *mut c_void, parameter: u32) -> u64 {
    query::number(ask!(queue, clGetCommandQueueInfo(queue, parameter))).unwrap_or(0)
}
