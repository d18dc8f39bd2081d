//! Calling the program back.

use std::ffi::c_void;
use std::sync::Mutex;

use crate::loads;
use crate::lock::lock;

type NotifyFn = unsafe extern "C" fn(*mut c_void, *mut c_void);
type EventFn = unsafe extern "C" fn(*mut c_void, i32, *mut c_void);

/// A callback that gets an object: build finished, object destroyed.
pub struct Notify {
    function: NotifyFn,
    data: *mut c_void,
}

/// What an object's end is told to.
#[derive(Default)]
pub struct Destructors(Mutex<Vec<Notify>>);

/// A callback that gets an event and its status.
pub struct EventNotify {
    function: EventFn,
    data: *mut c_void,
}

// SAFETY: the program gave function and data to be used from any thread, as the specification says.
unsafe impl Send for Notify {}
// SAFETY: as above.
unsafe impl Send for EventNotify {}

impl Notify {
    /// `None` without a function. The pair came from a C call, which promised that they fit each other.
    pub fn new(function: Option<NotifyFn>, data: *mut c_void) -> Option<Self> {
        function.map(|function| Notify { function, data })
    }

    /// Nothing is called once the library is being unloaded.
    pub fn call(self, object: *mut c_void) {
        if !loads::leaving() {
            // SAFETY: the program's own function with its own data, as it asked for.
            unsafe { (self.function)(object, self.data) };
        }
    }
}

impl Destructors {
    pub fn add(&self, notify: Notify) {
        lock(&self.0).push(notify);
    }

    /// "The registered callback functions are called in the reverse order in which they were registered."
    pub fn call(&self, object: *mut c_void) {
        let callbacks = std::mem::take(&mut *lock(&self.0));
        let reverse = callbacks.into_iter().rev();
        reverse.for_each(|notify| notify.call(object));
    }
}

impl EventNotify {
    /// As `Notify::new`.
    pub fn new(function: Option<EventFn>, data: *mut c_void) -> Option<Self> {
        function.map(|function| EventNotify { function, data })
    }

    /// As `Notify::call`.
    pub fn call(self, event: *mut c_void, status: i32) {
        if !loads::leaving() {
            // SAFETY: the program's own function with its own data, as it asked for.
            unsafe { (self.function)(event, status, self.data) };
        }
    }
}
