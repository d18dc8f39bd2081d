//! Events: status, time stamps, callbacks.

use std::ffi::c_void;
use std::sync::{Arc, Mutex};

use opencl_sys::{
    CL_COMMAND_USER, CL_COMPLETE, CL_INVALID_EVENT, CL_INVALID_OPERATION, CL_QUEUED, CL_RUNNING,
    CL_SUBMITTED, cl_int,
};

use super::context::Context;
use super::schedule;
use crate::callback::EventNotify;
use crate::ffi::CLResult;
use crate::handle::{self, Object, Slot};
use crate::lock::lock;

/// The queue of an event's command.
pub trait CommandQueue: Send + Sync {
    fn handle(&self) -> *mut c_void;
    /// Whether its events have time stamps.
    fn profiles(&self) -> bool;
    /// `clFlush`.
    fn flush(&self);
}

pub struct Event {
    pub slot: Slot,
    pub context: Arc<Context>,
    /// `None` for a user event.
    pub queue: Option<Arc<dyn CommandQueue>>,
    pub command: u32,
    state: Mutex<State>,
    /// Itself, kept while a callback is owed or the command is not done.
    owed: Mutex<Option<Arc<Event>>>,
}

struct State {
    status: cl_int,
    /// Nanoseconds: queued, submitted, started, ended.
    stamps: [u64; 4],
    callbacks: Vec<(cl_int, EventNotify)>,
}

impl Object for Event {
    const KIND: &'static str = "cl_event";
    const INVALID: cl_int = CL_INVALID_EVENT;
}

/// Nanoseconds of the device's clock, which is the host's monotonic one.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

impl Event {
    /// The event of a command; the caller of OpenCL gets it if `wanted`.
    pub fn of_command(
        context: Arc<Context>,
        queue: Arc<dyn CommandQueue>,
        command: u32,
        wanted: bool,
    ) -> Arc<Event> {
        let references = u32::from(wanted);
        Self::make(context, Some(queue), command, CL_QUEUED, references)
    }

    pub fn user(context: Arc<Context>) -> Arc<Event> {
        Self::make(context, None, CL_COMMAND_USER, CL_SUBMITTED, 1)
    }

    fn make(
        context: Arc<Context>,
        queue: Option<Arc<dyn CommandQueue>>,
        command: u32,
        status: cl_int,
        references: u32,
    ) -> Arc<Event> {
        let stamps = [now(), 0, 0, 0];
        let state = Mutex::new(State {
            status,
            stamps,
            callbacks: Vec::new(),
        });
        let owed = Mutex::new(None);
        handle::publish(references, |slot| Event {
            slot,
            context,
            queue,
            command,
            state,
            owed,
        })
    }

    pub fn status(&self) -> cl_int {
        lock(&self.state).status
    }

    /// Queued, submitted, started, ended; `None` before the end or without an end.
    pub fn stamps(&self) -> Option<[u64; 4]> {
        let state = lock(&self.state);
        (state.status == CL_COMPLETE).then_some(state.stamps)
    }

    pub fn is_done(&self) -> bool {
        self.status() <= CL_COMPLETE
    }

    /// The command runs or ends: wakes who waits and calls back who asked. An error calls back all.
    pub fn advance(&self, status: cl_int) {
        self.reach(status, |_| true);
        if status <= CL_COMPLETE {
            let kept = lock(&self.owed).take();
            drop(kept);
        }
    }

    /// From queued to submitted; nothing if the worker was quicker.
    pub fn submit(&self) {
        self.reach(CL_SUBMITTED, |before| before == CL_QUEUED);
    }

    /// Takes the status if `may` says so of the one before.
    fn reach(&self, status: cl_int, may: impl FnOnce(cl_int) -> bool) {
        let due = {
            let mut state = lock(&self.state);
            if !may(state.status) {
                return;
            }
            state.status = status;
            let place = match status {
                CL_SUBMITTED => 1,
                CL_RUNNING => 2,
                _ => 3,
            };
            state.stamps[place] = now();
            if state.stamps[1] == 0 {
                state.stamps[1] = state.stamps[0];
            }
            let all = std::mem::take(&mut state.callbacks);
            let (due, later) = all.into_iter().partition(|(at, _)| *at >= status);
            state.callbacks = later;
            due
        };
        schedule::changed();
        self.call(due, status);
    }

    fn call(&self, callbacks: Vec<(cl_int, EventNotify)>, status: cl_int) {
        for (at, callback) in callbacks {
            let told = if status < 0 { status } else { at };
            callback.call(self.slot.handle(), told);
        }
    }

    /// `clSetUserEventStatus`.
    pub fn set_user_status(&self, status: cl_int) -> CLResult<()> {
        if self.queue.is_some() || self.command != CL_COMMAND_USER {
            return Err(CL_INVALID_EVENT);
        }
        if self.is_done() {
            return Err(CL_INVALID_OPERATION);
        }
        self.advance(status);
        Ok(())
    }

    /// `clSetEventCallback`: at once, in this thread, if the status is reached already.
    pub fn on_status(self: &Arc<Self>, at: cl_int, callback: EventNotify) {
        let status = {
            let mut state = lock(&self.state);
            if state.status > at {
                state.callbacks.push((at, callback));
                *lock(&self.owed) = Some(self.clone());
                return;
            }
            state.status
        };
        self.call(vec![(at, callback)], status);
    }

    /// Waits for the end and returns the last status.
    pub fn wait(&self) -> cl_int {
        schedule::wait_for(|| Some(self.status()).filter(|&status| status <= CL_COMPLETE))
    }

    /// Sees to it that the command runs some time, before somebody waits for it.
    pub fn flush_queue(&self) {
        if let Some(queue) = &self.queue {
            queue.flush();
        }
    }

    pub fn handle(&self) -> *mut c_void {
        self.slot.handle()
    }
}
