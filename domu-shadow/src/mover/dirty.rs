//! Which buffers were written: marks set by the program's enqueues while a capture tracks.
//!
//! A mark says that a command that may write was *enqueued*; it may still be running. So a round first takes the
//! marks, then puts a marker behind everything enqueued so far. If all markers are reached before the reading starts,
//! every write of those commands is read. If not, the buffers keep their marks and are read again next time.
//! Enqueues set the mark after the driver took the command, so that a command is either before our marker or its mark
//! is still to come.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use opencl_sys::CL_COMPLETE;

use crate::core::handle;
use crate::core::mem::{Mem, TRACKING};
use crate::core::queue::Queue;
use crate::driver::dispatch::{status, table_of};
use crate::driver::query;

/// How long a round waits for running commands before it goes on with the marks kept.
const SETTLING: Duration = Duration::from_millis(50);

/// Switches marking on or off for all threads.
pub(super) fn track(on: bool) {
    TRACKING.store(on, Ordering::SeqCst);
    // A thread that did not see the change yet has its command in the driver already, before our markers.
    crate::gate::barrier();
}

/// Takes the marks of `buffers`; those of commands that do not end soon are set again. Returns the marked ones.
pub(super) fn take(buffers: &[Arc<Mem>], all: bool) -> Vec<Arc<Mem>> {
    let marked: Vec<Arc<Mem>> = buffers
        .iter()
        .filter(|mem| mem.take_written() || all)
        .map(Arc::clone)
        .collect();
    if !marked.is_empty() && !Markers::place().wait(Instant::now() + SETTLING) {
        marked.iter().for_each(|mem| mem.set_written());
    }
    marked
}

/// A marker behind everything in every queue.
pub(super) struct Markers(Vec<(*mut c_void, Arc<Queue>)>);

impl Markers {
    /// Queues that refuse a marker are left out: their commands are waited for when the gate closes.
    pub(super) fn place() -> Markers {
        let mark = |queue: Arc<Queue>| {
            let real = queue.real.get();
            let mut event = std::ptr::null_mut();
            let out = &raw mut event;
            let answer = if table_of(real).clEnqueueMarkerWithWaitList.is_some() {
                status!(
                    real,
                    clEnqueueMarkerWithWaitList(real, 0, std::ptr::null(), out)
                )
            } else {
                status!(real, clEnqueueMarker(real, out))
            };
            let answer = answer.and_then(|()| status!(real, clFlush(real)));
            answer
                .inspect_err(|code| log::warn!("a marker was refused: OpenCL error {code}"))
                .ok()?;
            Some((event, queue))
        };
        Markers(
            handle::all::<Queue>()
                .into_iter()
                .filter(|queue| !queue.is_on_device())
                .filter_map(mark)
                .collect(),
        )
    }

    /// How many are not reached.
    pub(super) fn open(&self) -> usize {
        let is_open = |event| query::event_status(event).is_ok_and(|status| status > CL_COMPLETE);
        self.0.iter().filter(|(event, _)| is_open(*event)).count()
    }

    /// Waits until all are reached; false if that takes longer than `deadline`.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        super::quiesced::poll(deadline, || self.open() == 0)
    }
}

impl Drop for Markers {
    fn drop(&mut self) {
        for (event, _) in &self.0 {
            let event = *event;
            // Nothing to do about a refusal: the driver keeps its event.
            let _ = status!(event, clReleaseEvent(event));
        }
    }
}
