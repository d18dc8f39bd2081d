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
use crate::core::presence;
use crate::core::queue::Queue;
use crate::core::retired;
use crate::core::running;
use crate::driver::dispatch::status;
use crate::driver::query;

/// How long a round waits for running commands before it goes on with the marks kept.
const SETTLING: Duration = Duration::from_millis(50);

/// Switches marking on or off for all threads.
pub(super) fn track(on: bool) {
    TRACKING.store(on, Ordering::SeqCst);
    presence::note_uses(on);
    // A thread that did not see the change yet has its command in the driver already, before our markers.
    crate::gate::barrier();
}

/// A buffer or image whose marks were taken.
pub(super) struct Taken {
    pub(super) mem: Arc<Mem>,
    /// Whether a command may have written it, by what its arguments say.
    pub(super) written: bool,
}

/// Takes the marks of the `wanted` among `buffers`; those of commands that do not end soon are set again.
pub(super) fn take(buffers: &[Arc<Mem>], wanted: impl Fn(&Mem) -> bool) -> Vec<Taken> {
    let take = |mem: &Arc<Mem>| {
        let (_, written) = mem.take_marks();
        let mem = Arc::clone(mem);
        Taken { mem, written }
    };
    let taken: Vec<Taken> = buffers.iter().filter(|mem| wanted(mem)).map(take).collect();
    if !taken.is_empty() && !Markers::place().wait(Instant::now() + SETTLING) {
        taken.iter().for_each(|Taken { mem, written }| {
            if *written {
                mem.set_written();
            } else {
                mem.set_used();
            }
        });
    }
    taken
}

/// Events behind everything that runs in every queue, released ones included: not behind what the program's user
/// events hold back. As a rule a marker's for each queue; those of the commands where they are followed.
pub(super) struct Markers {
    placed: Vec<(*mut c_void, Arc<Queue>)>,
    /// Queues that took no marker: what is in them may never be known to have ended.
    refused: usize,
}

impl Markers {
    pub(super) fn place() -> Markers {
        let mut queues = handle::all::<Queue>();
        queues.retain(|queue| !queue.is_on_device());
        let (mut placed, mut refused) = (Vec::new(), 0);
        for queue in queues {
            let events = if running::is_known() {
                queue.now_running()
            } else {
                queue.mark().map(|event| vec![event])
            };
            let events = events.unwrap_or_else(|code| {
                log::warn!("what runs in a queue is not known: OpenCL error {code}");
                refused += 1;
                Vec::new()
            });
            placed.extend(events.into_iter().map(|event| (event, Arc::clone(&queue))));
        }
        Markers { placed, refused }
    }

    /// How many queues may still be at work.
    pub(super) fn open(&self) -> usize {
        let is_open = |event| query::event_status(event).is_ok_and(|status| status > CL_COMPLETE);
        let placed = self.placed.iter();
        self.refused + retired::open() + placed.filter(|(event, _)| is_open(*event)).count()
    }

    /// Waits until all are reached; false if that takes longer than `deadline`.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        let reached = super::quiesced::poll(deadline, || self.open() == 0);
        if reached {
            self.synchronize();
        }
        reached
    }

    /// Asking for a status "is not a synchronization point" (OpenCL 3.0, clGetEventInfo): what the commands wrote need not be
    /// visible to ours. Waiting is one, and ends at once.
    fn synchronize(&self) {
        for (event, _) in &self.placed {
            // One that failed has ended, too.
            let _ = status!(*event, clWaitForEvents(1, &raw const *event));
        }
    }
}

impl Drop for Markers {
    fn drop(&mut self) {
        for (event, _) in &self.placed {
            let event = *event;
            // Nothing to do about a refusal: the driver keeps its event.
            let _ = status!(event, clReleaseEvent(event));
        }
    }
}
