//! The program's destructor callbacks: of contexts, memory objects and programs.
//!
//! They are called once, last registered first, when the object is gone. A move, which releases the driver's object and
//! makes it again, never calls them.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use crate::CLResult;
use runtime::locks::lock;

/// The program's function: object, user data.
pub type Destructor = unsafe extern "C" fn(*mut c_void, *mut c_void);

/// Those registered with one object.
#[derive(Default)]
pub struct DestructorCallbacks(Mutex<Vec<(Destructor, usize)>>);

impl DestructorCallbacks {
    pub fn add(&self, call: Destructor, user: usize) {
        lock(&self.0).push((call, user));
    }

    /// Takes them out, when the object of this handle is dropped.
    pub fn take(&mut self, handle: *mut c_void) -> PendingCallbacks {
        PendingCallbacks {
            handle: handle as usize,
            calls: std::mem::take(self.0.get_mut().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// The callbacks of an object that the program has released: due once it is gone.
pub struct PendingCallbacks {
    handle: usize,
    calls: Vec<(Destructor, usize)>,
}

impl PendingCallbacks {
    /// Calls them.
    pub fn call(self) {
        for (call, user) in self.calls.into_iter().rev() {
            let handle = self.handle;
            // SAFETY: the program registered the function for a call with its object and its own user data.
            runtime::callbacks::run(move || unsafe {
                call(handle as *mut c_void, user as *mut c_void)
            });
        }
    }

    /// Releases the driver's object by `release`, and calls them when it is gone. Commands may still use the object, so
    /// `register` asks the driver to say when. If the driver refuses, they are called at once.
    pub fn call_when_gone(
        self,
        register: impl FnOnce(Destructor, *mut c_void) -> CLResult<()>,
        release: impl FnOnce(),
    ) {
        if self.calls.is_empty() {
            return release();
        }
        let user = Box::into_raw(Box::new(self));
        let registered = register(object_gone, user.cast());
        release();
        if registered.is_err() {
            // SAFETY: the driver refused the callback, so the box is still ours.
            unsafe { Box::from_raw(user) }.call();
        }
    }
}

unsafe extern "C" fn object_gone(_real: *mut c_void, user: *mut c_void) {
    // SAFETY: `user` is the box leaked for this call, which a driver makes once.
    unsafe { Box::from_raw(user.cast::<PendingCallbacks>()) }.call();
}
