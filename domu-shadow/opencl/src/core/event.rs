//! Events: of commands, and of the program itself.
//!
//! After a move an event has no driver's object: it was complete, and its status and times are kept here. A user event
//! without a status gets a new driver's event.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use opencl_sys::{
    CL_COMPLETE, CL_INVALID_EVENT, CL_INVALID_OPERATION, CL_INVALID_VALUE, CL_OUT_OF_RESOURCES,
    CL_PROFILING_COMMAND_COMPLETE, CL_PROFILING_COMMAND_QUEUED, CL_SUBMITTED, cl_command_type,
    cl_int,
};

use super::context::Context;
use super::driver_handle::DriverHandle;
use super::handle::{self, Slot, object};
use super::open_user_events;
use super::queue::Queue;
use crate::CLResult;
use crate::driver::dispatch::{ask, create, released, status};
use crate::driver::query;
use runtime::locks::lock;

/// The program's event callback: event, status, user data.
pub type Notify = unsafe extern "C" fn(*mut c_void, cl_int, *mut c_void);

/// `QUEUED`, `SUBMIT`, `START`, `END`, `COMPLETE`, each the driver's answer.
pub type Profile = [CLResult<u64>; 5];

/// A callback: stage, function, user data.
pub(super) type Waiting = (cl_int, Notify, usize);

/// No status known here: the driver is asked.
const ASK: cl_int = cl_int::MAX;

/// Whose status it is.
enum Maker {
    /// A command's.
    Queue(Arc<Queue>),
    /// The program's own: a user event.
    Program(Arc<Context>),
}

/// Kept small: programs make one for each command.
pub struct Event {
    pub(super) slot: Slot<Event>,
    pub real: DriverHandle,
    maker: Maker,
    pub command: cl_command_type,
    pub(super) status: AtomicI32,
    profile: OnceLock<Box<Profile>>,
    /// Of a command that a user event defers; changes only under the lock of the deferred commands' log.
    pub(super) deferred: AtomicBool,
    /// Callbacks that no driver knows of, of user events and of deferred commands; `None` once those of a user event have come.
    waiting: Mutex<Option<Vec<Waiting>>>,
}

object!(Event, CL_INVALID_EVENT);

impl Event {
    /// The shadow of a driver's event that this process owns from now on.
    pub fn of_command(queue: &Queue, command: cl_command_type, real: *mut c_void) -> Arc<Event> {
        let maker = Maker::Queue(handle::shared(queue));
        Arc::new(Event::new(maker, command, real, ASK))
    }

    /// # Errors
    /// The driver's.
    pub fn user(context: Arc<Context>) -> CLResult<Arc<Event>> {
        let event = Event::new(
            Maker::Program(context),
            opencl_sys::CL_COMMAND_USER,
            std::ptr::null_mut(),
            CL_SUBMITTED,
        );
        open_user_events::opened();
        event.make_user()?;
        Ok(Arc::new(event))
    }

    fn new(maker: Maker, command: cl_command_type, real: *mut c_void, status: cl_int) -> Event {
        Event {
            slot: Slot::reserve(),
            real: DriverHandle::new(real),
            maker,
            command,
            status: AtomicI32::new(status),
            profile: OnceLock::new(),
            deferred: AtomicBool::new(false),
            waiting: Mutex::new(Some(Vec::new())),
        }
    }

    pub fn context(&self) -> &Arc<Context> {
        match &self.maker {
            Maker::Queue(queue) => &queue.context,
            Maker::Program(context) => context,
        }
    }

    /// `None` for user events.
    pub fn queue(&self) -> Option<&Queue> {
        match &self.maker {
            Maker::Queue(queue) => Some(queue),
            Maker::Program(_) => None,
        }
    }

    fn make_user(&self) -> CLResult<()> {
        let context = self.context().real.get();
        self.real.set(create!(context, clCreateUserEvent(context))?);
        Ok(())
    }

    /// `CL_EVENT_COMMAND_EXECUTION_STATUS`.
    ///
    /// # Errors
    /// The driver's.
    pub fn status(&self) -> CLResult<cl_int> {
        match self.status.load(Ordering::Acquire) {
            ASK => query::event_status(self.real.get()),
            known => Ok(known),
        }
    }

    /// A user event whose status the program has not set yet.
    pub fn is_open_user_event(&self) -> bool {
        self.queue().is_none() && self.status.load(Ordering::Acquire) > CL_COMPLETE
    }

    /// Whether a user event defers its command.
    pub fn is_deferred(&self) -> bool {
        self.deferred.load(Ordering::Acquire)
    }

    /// A user event defers its command.
    pub(super) fn defer(&self) {
        self.deferred.store(true, Ordering::Release);
    }

    /// The program sets a user event's status, of which the driver knows nothing yet.
    ///
    /// # Errors
    /// `CL_INVALID_VALUE`, `CL_INVALID_OPERATION` if it was set before, `CL_INVALID_EVENT` if it is none.
    pub(super) fn set_once(&self, status: cl_int) -> CLResult<()> {
        if self.queue().is_some() {
            return Err(CL_INVALID_EVENT);
        }
        if status > CL_COMPLETE {
            return Err(CL_INVALID_VALUE);
        }
        self.status
            .compare_exchange(CL_SUBMITTED, status, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(|_| CL_INVALID_OPERATION)
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, Option<Vec<Waiting>>> {
        lock(&self.waiting)
    }

    /// `CL_PROFILING_COMMAND_*`, ns.
    ///
    /// # Errors
    /// The driver's.
    pub fn profile(&self, parameter: u32) -> CLResult<u64> {
        if let Some(profile) = self.profile.get() {
            let at = parameter
                .checked_sub(CL_PROFILING_COMMAND_QUEUED)
                .ok_or(CL_INVALID_VALUE)?;
            return profile
                .get(at as usize)
                .copied()
                .unwrap_or(Err(CL_INVALID_VALUE));
        }
        self.profile_of_driver(parameter)
    }

    /// Before a move: keeps what the driver knows, and releases its event. The command has ended.
    ///
    /// # Errors
    /// The status, if the command has not ended and nothing of the program's defers it.
    pub fn settle(&self) -> Result<(), cl_int> {
        if self.is_deferred() {
            return Ok(());
        }
        if self.queue().is_some() && self.status.load(Ordering::Acquire) == ASK {
            let status = self.status().unwrap_or(CL_OUT_OF_RESOURCES);
            if status > CL_COMPLETE {
                return Err(status);
            }
            self.profile.get_or_init(|| {
                let first = CL_PROFILING_COMMAND_QUEUED;
                debug_assert_eq!(first + 4, CL_PROFILING_COMMAND_COMPLETE);
                Box::new(std::array::from_fn(|at| {
                    self.profile_of_driver(first + at as u32)
                }))
            });
            self.status.store(status, Ordering::Release);
        }
        Ok(())
    }

    fn profile_of_driver(&self, parameter: u32) -> CLResult<u64> {
        let real = self.real.get();
        query::number(ask!(real, clGetEventProfilingInfo(real, parameter)))
    }

    /// Before a move, with nothing running: releases the driver's event.
    pub fn release_driver(&self) {
        // Nobody waits for it, but NVIDIA's driver waits for it when the context goes. The program's own callbacks are
        // made here, so none comes of this.
        self.end_user_event(CL_COMPLETE);
        self.release();
    }

    /// The same for a user event that the program has not set; the driver's event gets `status`.
    pub(super) fn end_user_event(&self, status: cl_int) {
        let real = self.real.get();
        if self.is_open_user_event() && !real.is_null() {
            if let Err(code) = status!(real, clSetUserEventStatus(real, status)) {
                log::warn!("a driver refused to end a user event: error {code}");
            }
            self.release();
        }
    }

    fn release(&self) {
        if let Some(real) = self.real.take() {
            released("an event", status!(real, clReleaseEvent(real)));
        }
    }

    /// After a move: open user events need a driver's event again.
    ///
    /// # Errors
    /// The driver's.
    pub fn recreate(&self) -> CLResult<()> {
        if self.is_open_user_event() && self.real.get().is_null() {
            self.make_user()
        } else {
            Ok(())
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.is_open_user_event() {
            open_user_events::closed();
        }
        self.release();
    }
}
