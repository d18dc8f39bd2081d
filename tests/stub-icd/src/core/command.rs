//! Commands: what an enqueue makes and a queue's worker runs.

use std::sync::Arc;

use opencl_sys::{CL_COMPLETE, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_RUNNING, cl_int};

use super::event::Event;
use crate::ffi::CLResult;
use crate::options;
use crate::rules;

/// What a command does when its turn has come; an error becomes the event's status.
pub type Work = Box<dyn FnOnce() -> CLResult<()> + Send>;

/// How a command stands to those before it in an out-of-order queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Runs when its wait list is done.
    Free,
    /// A marker or barrier without a wait list: after all before it.
    AfterAll,
    /// A barrier: as `AfterAll`, and nothing behind it starts before its end. With a wait list it waits for that only.
    Barrier,
}

pub struct Command {
    pub event: Arc<Event>,
    pub waits: Vec<Arc<Event>>,
    pub order: Order,
    /// The entry point's name, for the rules of the options.
    pub function: &'static str,
    /// Which call of that function it came from, for `fail_exec`.
    pub nth: u64,
    pub work: Work,
}

impl Command {
    /// Whether every event that it waits for has ended.
    pub fn is_ready(&self) -> bool {
        self.waits.iter().all(|wait| wait.is_done())
    }

    /// Runs it in the calling thread, to its event's last status.
    pub fn run(self) {
        let Command {
            event,
            waits,
            function,
            nth,
            work,
            ..
        } = self;
        let failed = waits.iter().any(|wait| wait.status() < 0);
        drop(waits);
        let status = if failed {
            Err(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST)
        } else {
            event.advance(CL_RUNNING as cl_int);
            let options = options::in_force();
            rules::sleep(&options.exec_delays, function);
            rules::fail(&options.exec_failures, function, nth).and_then(|()| work())
        };
        event.advance(status.err().unwrap_or(CL_COMPLETE as cl_int));
    }

    /// Ends it without running it.
    pub fn abandon(self, status: cl_int) {
        self.event.advance(status);
    }
}
