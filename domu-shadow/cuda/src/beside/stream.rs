//! Streams of our own, and events in them.

use std::ffi::{c_uint, c_void};
use std::ptr::null_mut;

use runtime::delta::device::{self, Result};

use super::home::{Entered, Home, call, complain, failed};
use crate::abi::*;

/// A stream that does not synchronise with the legacy one, of the lowest priority: what the program runs goes before. Work in it must
/// have ended when it is dropped.
#[derive(Debug)]
pub struct Stream {
    home: Home,
    handle: CUstream,
}

// SAFETY: streams belong to a context, not to a thread.
unsafe impl Send for Stream {}
// SAFETY: as above; every call of the driver's is thread-safe.
unsafe impl Sync for Stream {}

impl Stream {
    /// # Errors
    /// The driver's.
    pub fn new(home: &Home) -> Result<Stream> {
        let _here = home.enter()?;
        let (mut least, mut greatest) = (0, 0);
        call!(cuCtxGetStreamPriorityRange(
            &raw mut least,
            &raw mut greatest
        ))?;
        let mut handle = null_mut();
        call!(cuStreamCreateWithPriority(
            &raw mut handle,
            CU_STREAM_NON_BLOCKING,
            least
        ))?;
        Ok(Stream {
            home: home.clone(),
            handle,
        })
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Waits for all that was started: false where that cannot be known. Then what the work uses must stay.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let ended = twice(|| {
            let _here = self.home.enter()?;
            call!(cuStreamSynchronize(self.handle))
        });
        match ended {
            Ok(()) => true,
            // Its work went with it.
            Err(error) if error.code == CUDA_ERROR_CONTEXT_IS_DESTROYED => true,
            Err(error) => {
                log::warn!("work of a capture's may be under way: {error}");
                false
            }
        }
    }

    /// What is started from now on waits for `event`.
    ///
    /// # Errors
    /// The driver's.
    pub fn wait(&self, event: &Event) -> Result<()> {
        let _here = self.home.enter()?;
        call!(cuStreamWaitEvent(self.handle, event.end, 0))
    }

    /// Starts to read device memory.
    ///
    /// # Safety
    /// The device's memory stays mapped, and `to` valid for writes, until the event is complete.
    ///
    /// # Errors
    /// The driver's.
    pub unsafe fn read(
        &self,
        to: *mut u8,
        from: CUdeviceptr,
        bytes: usize,
        timed: bool,
    ) -> Result<Event> {
        self.run(timed, |_| {
            call!(cuMemcpyDtoHAsync_v2(to.cast(), from, bytes, self.handle))
        })
    }

    /// Starts to write device memory.
    ///
    /// # Safety
    /// The device's memory stays mapped, and `from` valid for reads, until the event is complete.
    ///
    /// # Errors
    /// The driver's.
    pub unsafe fn write(&self, to: CUdeviceptr, from: *const u8, bytes: usize) -> Result<Event> {
        self.run(false, |_| {
            call!(cuMemcpyHtoDAsync_v2(to, from.cast(), bytes, self.handle))
        })
    }

    /// Starts to write zeros to device memory.
    ///
    /// # Safety
    /// The memory stays mapped until the event is complete.
    ///
    /// # Errors
    /// The driver's.
    pub unsafe fn zero(&self, at: CUdeviceptr, bytes: usize) -> Result<Event> {
        self.run(false, |_| call!(cuMemsetD8Async(at, 0, bytes, self.handle)))
    }

    /// Starts a kernel with one-dimensional blocks.
    ///
    /// # Safety
    /// `parameters` are pointers to what the kernel takes, in order, and memory that it reaches through them stays mapped until the
    /// event is complete.
    ///
    /// # Errors
    /// The driver's.
    pub unsafe fn launch(
        &self,
        function: CUfunction,
        (blocks, threads): (c_uint, c_uint),
        parameters: &mut [*mut c_void],
        timed: bool,
    ) -> Result<Event> {
        let parameters = parameters.as_mut_ptr();
        self.run(timed, |_| {
            call!(cuLaunchKernel(
                function,
                blocks,
                1,
                1,
                threads,
                1,
                1,
                0,
                self.handle,
                parameters,
                null_mut()
            ))
        })
    }

    /// The event behind `command`.
    fn run(&self, timed: bool, command: impl FnOnce(&Entered) -> Result<()>) -> Result<Event> {
        let here = self.home.enter()?;
        let event = Event::new(&self.home, &here, timed)?;
        if !event.start.is_null() {
            call!(cuEventRecord(event.start, self.handle))?;
        }
        command(&here)?;
        if let Err(error) = call!(cuEventRecord(event.end, self.handle)) {
            // The command is under way, and nobody would know when it ends.
            let _ = self.has_ended();
            return Err(error);
        }
        Ok(event)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The context's destruction has destroyed it.
        let Ok(_here) = self.home.enter() else { return };
        if let Err(error) = call!(cuStreamDestroy_v2(self.handle)) {
            complain("", &error);
        }
    }
}

/// Memory is let go of after a wait: a call that has failed for a reason of its own is no such wait. An error of the work's comes again.
fn twice(wait: impl Fn() -> Result<()>) -> Result<()> {
    wait().or_else(|_| wait())
}

/// The end of a command, and its start where it is timed.
#[derive(Debug)]
pub struct Event {
    home: Home,
    /// Null where it is not timed.
    start: CUevent,
    end: CUevent,
}

// SAFETY: events belong to a context, not to a thread.
unsafe impl Send for Event {}

impl Event {
    fn new(home: &Home, _here: &Entered, timed: bool) -> Result<Event> {
        let mut event = Event {
            home: home.clone(),
            start: null_mut(),
            end: null_mut(),
        };
        let flags = if timed {
            call!(cuEventCreate(&raw mut event.start, CU_EVENT_DEFAULT))?;
            CU_EVENT_BLOCKING_SYNC
        } else {
            CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING
        };
        call!(cuEventCreate(&raw mut event.end, flags))?;
        Ok(event)
    }
}

impl device::Event for Event {
    fn is_complete(&self) -> Result<bool> {
        let _here = self.home.enter()?;
        match call!(cuEventQuery(self.end)) {
            Ok(()) => Ok(true),
            Err(error) if error.code == CUDA_ERROR_NOT_READY => Ok(false),
            Err(error) => Err(failed("enqueued command", error.code)),
        }
    }

    fn wait(&self) -> Result<()> {
        twice(|| {
            let _here = self.home.enter()?;
            call!(cuEventSynchronize(self.end))
        })
    }

    fn device_ns(&self) -> u64 {
        let mut milliseconds = 0.0;
        let Ok(_here) = self.home.enter() else {
            return 0;
        };
        if self.start.is_null()
            || call!(cuEventElapsedTime(
                &raw mut milliseconds,
                self.start,
                self.end
            ))
            .is_err()
        {
            return 0;
        }
        (f64::from(milliseconds) * 1e6) as u64
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let Ok(_here) = self.home.enter() else { return };
        for event in [self.start, self.end].into_iter().filter(|e| !e.is_null()) {
            if let Err(error) = call!(cuEventDestroy_v2(event)) {
                complain("", &error);
            }
        }
    }
}
