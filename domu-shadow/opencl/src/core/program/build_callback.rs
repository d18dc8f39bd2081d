//! Builds with a callback. What the call answers then is the driver's to say: for one that fails, success with some.

use std::ffi::c_void;
use std::sync::{Arc, Condvar, Mutex};

use crate::CLResult;
use runtime::locks::lock;

/// `pfn_notify` of `clBuildProgram` and its kin.
pub type Notify = unsafe extern "C" fn(*mut c_void, *mut c_void);

#[derive(Default)]
struct End {
    has_come: Mutex<bool>,
    changed: Condvar,
}

/// Makes a driver's call, with a callback if the program gave one, and waits for the end of the build.
pub fn call<T>(
    is_notified: bool,
    make: impl FnOnce(Option<Notify>, *mut c_void) -> (T, CLResult<()>),
) -> (T, CLResult<()>) {
    if !is_notified {
        return make(None, std::ptr::null_mut());
    }
    let end = Arc::new(End::default());
    let user = Arc::into_raw(Arc::clone(&end)).cast_mut().cast();
    let (made, answer) = make(Some(notify), user);
    if answer.is_ok() {
        let has_come = lock(&end.has_come);
        drop(end.changed.wait_while(has_come, |has_come| !*has_come));
    }
    // A driver that refuses may call all the same, so its reference stays.
    (made, answer)
}

unsafe extern "C" fn notify(_program: *mut c_void, user: *mut c_void) {
    // SAFETY: `user` came from `Arc::into_raw` for this call, which a driver makes once.
    let end = unsafe { Arc::from_raw(user.cast::<End>()) };
    *lock(&end.has_come) = true;
    end.changed.notify_all();
}
