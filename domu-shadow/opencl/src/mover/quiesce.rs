//! Coming to rest.

use std::time::Instant;

use channel::BoxError;
use opencl_sys::cl_int;
use runtime::gate::Draining;
use runtime::poll::by_deadline;

use super::dirty::Markers;
use crate::core::command::deferred_commands;
use crate::core::event::Event;
use crate::core::{handle, retired_queues};

/// Why the program's commands do not come to rest.
#[derive(Debug, thiserror::Error)]
enum NotAtRest {
    #[error("{threads} thread(s) inside OpenCL calls{user_events}")]
    Inside {
        threads: usize,
        user_events: OpenUserEvents,
    },
    #[error("{0}")]
    Deferred(&'static str),
    #[error("commands in {queues} queue(s) have not ended{user_events}")]
    Running {
        queues: usize,
        user_events: OpenUserEvents,
    },
    #[error("{0} released queue(s) are at work")]
    Released(usize),
    #[error("a command has ended but its event says {0}")]
    Event(cl_int),
}

/// How many user events the program has not set.
#[derive(Debug)]
struct OpenUserEvents(usize);

impl OpenUserEvents {
    fn now() -> OpenUserEvents {
        let events = handle::all::<Event>();
        let open = events.iter().filter(|event| event.is_open_user_event());
        OpenUserEvents(open.count())
    }
}

impl std::fmt::Display for OpenUserEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => Ok(()),
            open => write!(f, "; {open} user event(s) wait for the program"),
        }
    }
}

/// Commands that the program had let go when the gate began to drain.
#[derive(Default)]
pub(super) struct LetGo(u64);

impl LetGo {
    /// Waits for all that runs; what user events defer does not.
    pub(super) fn quiesce(&mut self, gate: &Draining, deadline: Instant) -> Result<(), BoxError> {
        self.0 = deferred_commands::changes();
        if !by_deadline(deadline, || gate.inside() == 0) {
            return Err(Box::new(NotAtRest::Inside {
                threads: gate.inside(),
                user_events: OpenUserEvents::now(),
            }));
        }
        // Nothing new is enqueued from here on.
        if let Some(obstacle) = deferred_commands::obstacle() {
            return Err(Box::new(NotAtRest::Deferred(obstacle)));
        }
        let markers = Markers::place();
        if !markers.wait(deadline) {
            return Err(Box::new(NotAtRest::Running {
                queues: markers.open(),
                user_events: OpenUserEvents::now(),
            }));
        }
        drop(markers);
        deferred_commands::look_again();
        Ok(())
    }

    /// The gate is closed: false if the program has let commands go meanwhile, which may be running.
    pub(super) fn settle(&self, deadline: Instant) -> Result<bool, BoxError> {
        // Queues released since then: their last events must not outlive the driver.
        if !by_deadline(deadline, || retired_queues::open() == 0) {
            return Err(Box::new(NotAtRest::Released(retired_queues::open())));
        }
        if self.0 != deferred_commands::changes() {
            return Ok(false);
        }
        let events = handle::all::<Event>();
        let settled = events.iter().try_for_each(|event| event.settle());
        settled.map_err(NotAtRest::Event)?;
        Ok(true)
    }
}
