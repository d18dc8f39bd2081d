//! The program's callbacks on events.
//!
//! Callbacks of user events are made here, without the driver, because only the program sets their status. Those of commands
//! are the driver's to make, except while a command is deferred or once its event was complete before a move.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use opencl_sys::{CL_COMPLETE, cl_int};

use super::event::{Event, Notify};
use crate::CLResult;
use crate::driver::dispatch::status;
use runtime::callbacks;
use runtime::gate::Pass;
use runtime::start;

impl Event {
    /// No user event defers its command any more: the driver learns of the callbacks.
    pub(super) fn undefer(self: &Arc<Self>) {
        self.deferred.store(false, Ordering::Release);
        for (stage, call, user) in self.waiting().replace(Vec::new()).into_iter().flatten() {
            if let Err(code) = self.ask_driver(stage, call, user) {
                log::error!("a driver refused an event callback: error {code}");
            }
        }
    }

    /// A user event has this status now: its callbacks come.
    pub(super) fn call_back(self: &Arc<Self>, status: cl_int) {
        let mut waiting = self.waiting();
        for (_, call, user) in waiting.take().into_iter().flatten() {
            self.notify(call, status, user);
        }
    }

    /// A callback of a user event: at once where it has the status already.
    pub(super) fn on_user_status(self: &Arc<Self>, stage: cl_int, call: Notify, user: usize) {
        let mut waiting = self.waiting();
        let status = self.status.load(Ordering::Acquire);
        match &mut *waiting {
            // Behind those that were registered before, also while the status is being set.
            Some(before) if status > stage || status <= CL_COMPLETE => {
                before.push((stage, call, user));
            }
            _ => self.notify(call, status.min(stage), user),
        }
    }

    /// A callback of a deferred command's: the driver learns of it in [`Event::undefer`].
    pub(super) fn call_back_later(&self, stage: cl_int, call: Notify, user: usize) {
        let mut waiting = self.waiting();
        waiting.get_or_insert_default().push((stage, call, user));
    }

    /// Has the driver call back.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn ask_driver(
        self: &Arc<Self>,
        stage: cl_int,
        call: Notify,
        user: usize,
    ) -> CLResult<()> {
        let real = self.real.get();
        if real.is_null() {
            // Complete before a move.
            self.notify(call, self.status()?.min(stage), user);
            return Ok(());
        }
        let owed = Box::into_raw(Box::new(Owed {
            event: Arc::clone(self),
            call,
            user,
        }));
        callbacks::owe();
        let answer = status!(
            real,
            clSetEventCallback(real, stage, Some(driver_says), owed.cast())
        );
        if answer.is_err() {
            callbacks::settle();
            // SAFETY: the driver refused the callback, so the box is still ours.
            drop(unsafe { Box::from_raw(owed) });
        }
        answer
    }

    /// Calls the program; the event lives until the callback returns.
    fn notify(self: &Arc<Self>, call: Notify, status: cl_int, user: usize) {
        let event = Arc::clone(self);
        callbacks::run(move || {
            // SAFETY: the program registered the function for a call with its event and its own user data.
            unsafe { call(event.slot.handle(), status, user as *mut c_void) };
            let _inside = start::enter(Pass::Drains);
            drop(event);
        });
    }
}

/// A callback registered with the driver.
struct Owed {
    event: Arc<Event>,
    call: Notify,
    user: usize,
}

unsafe extern "C" fn driver_says(_real: *mut c_void, status: cl_int, owed: *mut c_void) {
    // SAFETY: `owed` is the box leaked for this call, which a driver makes once.
    let owed = unsafe { Box::from_raw(owed.cast::<Owed>()) };
    callbacks::run(move || {
        // If the command had failed before the callback was registered, some drivers report only the stage.
        let known = {
            let _inside = start::enter(Pass::Drains);
            owed.event.status()
        };
        let status = known.ok().filter(|&known| known < 0).unwrap_or(status);
        // SAFETY: the program registered the function for a call with its event and its own user data.
        unsafe { (owed.call)(owed.event.slot.handle(), status, owed.user as *mut c_void) };
        // This may be the last reference to the event and its queue: what they still have with the driver is released now.
        let _inside = start::enter(Pass::Drains);
        drop(owed);
    });
    callbacks::settle();
}
