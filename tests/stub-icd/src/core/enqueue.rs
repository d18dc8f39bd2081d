//! Enqueueing: the arguments that end every enqueue, and the way of a command into its queue.

use std::sync::Arc;

use opencl_sys::{CL_INVALID_EVENT_WAIT_LIST, cl_event};

use super::command::{Command, Order, Work};
use super::event::Event;
use super::queue::Queue;
use crate::ffi::{CLResult, In, Out};
use crate::{call, handle};

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
        let event = Event::of_command(
            queue.context.clone(),
            queue.clone(),
            command,
            !self.event.is_null(),
        );
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
