//! Commands: what an enqueue makes and a queue's worker runs.

use std::sync::Arc;

use opencl_sys::{
    CL_COMPLETE, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_INVALID_EVENT_WAIT_LIST,
    CL_RUNNING, cl_event, cl_int,
};

use super::event::Event;
use super::queue::Queue;
use crate::ffi::{CLResult, In, Out};
use crate::{call, driver, handle};

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
    function: &'static str,
    /// Which call of that function it came from, for `fail_exec`.
    nth: u64,
    work: Work,
}

/// The arguments that end every enqueue.
pub struct Enqueue {
    pub waits: Vec<Arc<Event>>,
    pub event: Out<cl_event>,
    pub blocking: bool,
}

impl Enqueue {
    /// "`CL_INVALID_EVENT_WAIT_LIST` if `event_wait_list` is NULL and `num_events_in_wait_list` > 0, or
    /// `event_wait_list` is not NULL and `num_events_in_wait_list` is 0, or if event objects in `event_wait_list` are
    /// not valid events."
    pub fn new(
        queue: &Queue,
        count: u32,
        list: In<cl_event>,
        event: Out<cl_event>,
    ) -> CLResult<Self> {
        if (count == 0) != list.is_null() {
            return Err(CL_INVALID_EVENT_WAIT_LIST);
        }
        let waits = handle::get_all::<Event>(&list.list(count as usize).unwrap_or_default())
            .map_err(|_| CL_INVALID_EVENT_WAIT_LIST)?;
        waits.iter().try_for_each(|wait| {
            queue
                .context
                .same(&wait.context, "an event of the wait list")
        })?;
        Ok(Enqueue {
            waits,
            event,
            blocking: false,
        })
    }

    pub fn blocking(self, blocking: u32) -> Self {
        Enqueue {
            blocking: blocking != 0,
            ..self
        }
    }

    /// Puts the command into the queue, and waits for it if the call is a blocking one.
    pub fn submit(
        self,
        queue: &Arc<Queue>,
        command: u32,
        order: Order,
        work: Work,
    ) -> CLResult<()> {
        let function = call::current();
        let event = Event::of_command(queue, command, !self.event.is_null());
        let nth = call::count(function);
        queue.push(Command {
            event: event.clone(),
            waits: self.waits,
            order,
            function,
            nth,
            work,
        })?;
        self.event.set(event.handle());
        if !self.blocking {
            return Ok(());
        }
        queue.flush();
        match event.wait() {
            status if status < 0 => Err(status),
            _ => Ok(()),
        }
    }
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
            let options = driver::options();
            call::sleep(&options.exec_delays, function);
            call::fail(&options.exec_failures, function, nth).and_then(|()| work())
        };
        event.advance(status.err().unwrap_or(CL_COMPLETE as cl_int));
    }

    /// Ends it without running it.
    pub fn abandon(self, status: cl_int) {
        self.event.advance(status);
    }
}
