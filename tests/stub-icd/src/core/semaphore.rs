//! Binary semaphores (`cl_khr_semaphore`): each is an eventfd, which another API could share.

use std::ffi::c_void;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use opencl_sys::{CL_INVALID_SEMAPHORE_KHR, CL_OUT_OF_RESOURCES, cl_int};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::context::Context;
use crate::ffi::CLResult;
use crate::handle::{self, Object, Slot};
use crate::loads;

pub struct Semaphore {
    pub slot: Slot,
    pub context: Arc<Context>,
    /// As passed, with the ending zero.
    pub properties: Vec<u64>,
    pub file: OwnedFd,
}

impl Object for Semaphore {
    const KIND: &'static str = "cl_semaphore_khr";
    const INVALID: cl_int = CL_INVALID_SEMAPHORE_KHR;
}

impl Semaphore {
    pub fn create(context: Arc<Context>, properties: Vec<u64>, file: OwnedFd) -> *mut c_void {
        let make = |slot| Semaphore {
            slot,
            context,
            properties,
            file,
        };
        handle::publish(1, make).slot.handle()
    }

    fn is_signaled_within(&self, milliseconds: i64) -> bool {
        let mut files = [PollFd::new(&self.file, PollFlags::IN)];
        let time = Timespec {
            tv_sec: 0,
            tv_nsec: milliseconds * 1_000_000,
        };
        poll(&mut files, Some(&time)).is_ok_and(|ready| ready > 0)
    }

    /// `CL_SEMAPHORE_PAYLOAD_KHR`.
    pub fn payload(&self) -> u64 {
        u64::from(self.is_signaled_within(0))
    }

    pub fn signal(&self) -> CLResult<()> {
        let written = rustix::io::write(&self.file, &1_u64.to_ne_bytes());
        written.map(|_| ()).map_err(|_| CL_OUT_OF_RESOURCES)
    }

    /// Until it is signaled; it is not any more then.
    pub fn wait(&self) -> CLResult<()> {
        while !self.is_signaled_within(10) {
            if loads::leaving() {
                return Err(CL_OUT_OF_RESOURCES);
            }
        }
        let read = rustix::io::read(&self.file, &mut [0_u8; 8]);
        read.map(|_| ()).map_err(|_| CL_OUT_OF_RESOURCES)
    }
}
