//! Command queues: one worker thread each.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, Weak};

use opencl_sys::{
    CL_INVALID_COMMAND_QUEUE, CL_OUT_OF_RESOURCES, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE,
    CL_QUEUE_PROFILING_ENABLE, cl_int,
};

use super::command::{Command, Order};
use super::context::Context;
use super::device::Device;
use super::event::CommandQueue;
use super::schedule;
use crate::ffi::CLResult;
use crate::handle::{self, Object, Slot};
use crate::lock::lock;
use crate::report::violation;
use crate::{loads, options, thread};

pub struct Queue {
    pub slot: Slot,
    pub context: Arc<Context>,
    pub device: Arc<Device>,
    /// `cl_command_queue_properties`.
    pub properties: u64,
    /// Of an on-device queue, bytes. The host puts no command into one, and the toy kernels do not either.
    pub device_size: Option<u32>,
    /// As passed to `clCreateCommandQueueWithProperties`, with the ending zero.
    pub property_list: Vec<u64>,
    line: Arc<Line>,
}

impl Object for Queue {
    const KIND: &'static str = "cl_command_queue";
    const INVALID: cl_int = CL_INVALID_COMMAND_QUEUE;
}

/// The default on-device queues: one per device of a context.
static DEFAULTS: Mutex<Vec<Weak<Queue>>> = Mutex::new(Vec::new());

/// What queue and worker share.
struct Line {
    in_order: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Command>,
    running: bool,
    /// Commands enqueued, and how many of these were flushed.
    enqueued: u64,
    flushed: u64,
    /// Commands that the worker has taken.
    taken: u64,
    closed: bool,
}

/// What the worker does next.
enum Next {
    Run(Command),
    End,
}

impl Queue {
    pub fn create(
        context: Arc<Context>,
        device: Arc<Device>,
        properties: u64,
        property_list: Vec<u64>,
        device_size: Option<u32>,
    ) -> CLResult<*mut c_void> {
        let in_order = properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE == 0;
        let line = Arc::new(Line {
            in_order,
            state: Mutex::default(),
        });
        if device_size.is_none() {
            let worker = line.clone();
            thread::spawn(Box::new(move || worker.work()))?;
        }
        let queue = handle::publish(1, |slot| Queue {
            slot,
            context,
            device,
            properties,
            device_size,
            property_list,
            line,
        });
        Ok(queue.slot.handle())
    }

    /// "`CL_INVALID_COMMAND_QUEUE` if command_queue is not a valid host command-queue."
    pub fn of_host(&self) -> CLResult<()> {
        match self.device_size {
            None => Ok(()),
            Some(_) => Err(CL_INVALID_COMMAND_QUEUE),
        }
    }

    /// The default on-device queue of a device in a context.
    pub fn default_of(context: &Arc<Context>, device: &Arc<Device>) -> Option<Arc<Queue>> {
        let live: Vec<Arc<Queue>> = lock(&DEFAULTS).iter().filter_map(Weak::upgrade).collect();
        live.into_iter().find(|queue| queue.serves(context, device))
    }

    /// Makes it the default of its device in its context.
    pub fn make_default(self: &Arc<Self>) {
        let old = Self::default_of(&self.context, &self.device);
        let old = old.as_ref().map(Arc::downgrade).unwrap_or_default();
        let mut defaults = lock(&DEFAULTS);
        defaults.retain(|one| one.strong_count() > 0 && !one.ptr_eq(&old));
        defaults.push(Arc::downgrade(self));
    }

    /// Whether it is of this context and device.
    pub fn serves(&self, context: &Arc<Context>, device: &Arc<Device>) -> bool {
        Arc::ptr_eq(&self.context, context) && Arc::ptr_eq(&self.device, device)
    }

    pub fn push(&self, command: Command) -> CLResult<()> {
        self.of_host()?;
        if loads::leaving() {
            return Err(CL_OUT_OF_RESOURCES);
        }
        let lazy = options::in_force().lazy_flush;
        let event = command.event.clone();
        {
            let mut state = lock(&self.line.state);
            state.waiting.push_back(command);
            state.enqueued += 1;
            if !lazy {
                state.flushed = state.enqueued;
            }
        }
        if !lazy {
            event.submit();
        }
        schedule::changed();
        Ok(())
    }

    /// `clFlush`.
    pub fn flush(&self) {
        let events: Vec<_> = {
            let mut state = lock(&self.line.state);
            state.flushed = state.enqueued;
            let waiting = state.waiting.iter();
            waiting.map(|command| command.event.clone()).collect()
        };
        events.iter().for_each(|event| event.submit());
        schedule::changed();
    }

    /// `clFinish`.
    pub fn finish(&self) {
        self.flush();
        schedule::wait_for(|| {
            let state = lock(&self.line.state);
            (state.waiting.is_empty() && !state.running).then_some(())
        });
    }
}

impl CommandQueue for Queue {
    fn handle(&self) -> *mut c_void {
        self.slot.handle()
    }

    fn profiles(&self) -> bool {
        self.properties & CL_QUEUE_PROFILING_ENABLE != 0
    }

    fn flush(&self) {
        Queue::flush(self);
    }
}

impl Drop for Queue {
    /// The worker does what is left, as the implicit flush of the last release wants, and ends.
    fn drop(&mut self) {
        {
            let mut state = lock(&self.line.state);
            state.closed = true;
            state.flushed = state.enqueued;
        }
        schedule::changed();
    }
}

impl Line {
    fn work(&self) {
        while let Next::Run(command) = schedule::wait_for(|| self.next()) {
            command.run();
            lock(&self.state).running = false;
            schedule::changed();
        }
        let left = std::mem::take(&mut lock(&self.state).waiting);
        if !left.is_empty() {
            violation(format!("unloaded with {} commands not done", left.len()));
        }
        left.into_iter()
            .for_each(|command| command.abandon(CL_OUT_OF_RESOURCES));
    }

    /// The next command that may run. Never drops a command: see `schedule::wait_for`.
    fn next(&self) -> Option<Next> {
        let mut state = lock(&self.state);
        if loads::leaving() {
            return Some(Next::End);
        }
        let flushed = usize::try_from(state.flushed - state.taken).unwrap_or(usize::MAX);
        let startable = state.waiting.iter().take(flushed);
        let at = if self.in_order {
            startable.take(1).position(Command::is_ready)
        } else {
            let barrier = state
                .waiting
                .iter()
                .position(|command| command.order == Order::Barrier);
            let until = barrier.map_or(usize::MAX, |at| at + 1);
            startable.take(until).enumerate().position(|(at, command)| {
                command.is_ready() && (at == 0 || command.order == Order::Free)
            })
        };
        match at.and_then(|at| state.waiting.remove(at)) {
            Some(command) => {
                state.running = true;
                state.taken += 1;
                Some(Next::Run(command))
            }
            None => (state.closed && state.waiting.is_empty()).then_some(Next::End),
        }
    }
}
