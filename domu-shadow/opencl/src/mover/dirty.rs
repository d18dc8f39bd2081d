//! Which buffers were written: marks set by the program's enqueues while a capture tracks.
//!
//! A mark says that a command that may write was *enqueued*; it may still be running. So a round first takes the
//! marks, then puts a marker behind everything enqueued so far. If all markers are reached before the reading starts,
//! every write of those commands is read. If not, the buffers keep their marks and are read again next time.
//! Enqueues set the mark after the driver took the command, so that a command is either before our marker or its mark
//! is still to come.
//!
//! Commands that were enqueued before marking began left no marks. Until they have ended, every object counts as
//! written ([`Tracking`]).

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use runtime::poll::by_deadline;
use runtime::{gate, locks, residency};

use crate::core::device::Device;
use crate::core::handle;
use crate::core::in_flight;
use crate::core::mem::{Mem, TRACKING};
use crate::core::open_user_events;
use crate::core::queue::Queue;
use crate::core::retired_queues;
use crate::driver::dispatch::status;
use crate::driver::query;

/// How long a round waits for running commands before it goes on with the marks kept.
const SETTLING: Duration = Duration::from_millis(50);

/// Switches marking on or off for all threads.
fn mark(on: bool) {
    TRACKING.store(on, Ordering::SeqCst);
    residency::note_uses(on);
    // A thread that did not see the change yet has its command in the driver already, before our markers.
    gate::barrier();
}

/// Enqueues leave marks while this lives.
pub(super) struct Tracking {
    /// Behind the commands of before, which left none; `None` once they have ended.
    unmarked: Option<Markers>,
}

impl Tracking {
    pub(super) fn begin() -> Tracking {
        mark(true);
        Tracking {
            unmarked: Some(Markers::place()),
        }
    }

    /// Whether a command may still run that left no mark.
    fn has_unmarked(&mut self) -> bool {
        if let Some(markers) = &self.unmarked
            && markers.wait(Instant::now())
        {
            self.unmarked = None;
        }
        self.unmarked.is_some()
    }

    /// Nothing runs any more.
    pub(super) fn at_rest(&mut self) {
        self.unmarked = None;
    }

    /// Takes the marks of the `wanted` among all `buffers`; those of commands that do not end soon are set again.
    pub(super) fn take(&mut self, buffers: &[Arc<Mem>], wanted: Vec<Arc<Mem>>) -> Vec<Taken> {
        let taken: Vec<Taken> = wanted.into_iter().map(Taken::from).collect();
        if taken.is_empty() {
            return taken;
        }
        if Markers::place().wait(Instant::now() + SETTLING) {
            // These are behind the unmarked commands, too.
            self.unmarked = None;
        } else if self.has_unmarked() {
            buffers.iter().for_each(|mem| mem.set_written());
        } else {
            taken.iter().for_each(Taken::put_back);
        }
        taken
    }
}

impl Drop for Tracking {
    fn drop(&mut self) {
        mark(false);
    }
}

/// A buffer or image whose marks were taken.
pub(super) struct Taken {
    pub(super) mem: Arc<Mem>,
    /// Whether a command may have written it, by what its arguments say.
    pub(super) written: bool,
}

impl From<Arc<Mem>> for Taken {
    fn from(mem: Arc<Mem>) -> Taken {
        let (_, written) = mem.take_marks();
        Taken { mem, written }
    }
}

impl Taken {
    fn put_back(&self) {
        if self.written {
            self.mem.set_written();
        } else {
            self.mem.set_used();
        }
    }
}

/// Events behind everything that runs in every queue, released ones included: not behind what the program's user
/// events defer. Normally one marker for each queue; the commands' own events where they are listed; none where a command runs
/// inside the call that enqueues it.
pub(super) struct Markers {
    /// With the device, which an event does not keep alive in every driver if it is a sub-device (pocl 3.1). Not the
    /// queue: one that goes leaves a marker in turn.
    placed: Vec<(*mut c_void, Arc<Device>)>,
    /// Queues that took no marker: what is in them may never be known to have ended.
    refused: usize,
    /// Queues were being dropped: once they are gone, what they left is among the retired queues.
    some_left: bool,
}

// SAFETY: the driver's events belong to no thread.
unsafe impl Send for Markers {}

impl Markers {
    pub(super) fn place() -> Markers {
        let _beside = locks::beside();
        let mut queues = handle::all::<Queue>();
        queues.retain(|queue| !queue.is_on_device());
        let (mut placed, mut refused) = (Vec::new(), 0);
        for queue in queues {
            let events = if in_flight::is_complete() {
                queue.commands_in_flight()
            } else if queue.device.works_in_calls() {
                // What has ended needs no marker, and what runs will leave its mark. With one, pocl 3.1 loses itself: where two
                // threads use a queue, it ends its `clFinish` too early, or waits for a lock that it has.
                Ok(Vec::new())
            } else {
                queue.mark().map(|event| vec![event])
            };
            let events = events.unwrap_or_else(|code| {
                log::warn!("what runs in a queue is not known: OpenCL error {code}");
                refused += 1;
                Vec::new()
            });
            let device = &queue.device;
            placed.extend(events.into_iter().map(|event| (event, Arc::clone(device))));
        }
        // A queue that is being dropped is not among these, and leaves its own markers.
        open_user_events::wait_for_dropped_queues();
        Markers {
            placed,
            refused,
            some_left: handle::leaving::<Queue>() > 0,
        }
    }

    /// How many queues may still be at work.
    pub(super) fn open(&self) -> usize {
        let placed = self.placed.iter();
        let open = placed.filter(|(event, _)| !query::has_ended(*event));
        // Looked at before the retired ones, among which they come when they go.
        let leaving = match self.some_left {
            true => handle::leaving::<Queue>(),
            false => 0,
        };
        self.refused + leaving + retired_queues::open() + open.count()
    }

    /// Waits until all are reached; false if that takes longer than `deadline`.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        let reached = by_deadline(deadline, || self.open() == 0);
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
