//! The driver's threads, by pthreads: `std::thread::spawn` leaves a thread-local destructor behind in the *calling*
//! thread, and glibc then keeps the library mapped after `dlclose`. A driver must be able to go.

use std::ffi::c_void;
use std::sync::Mutex;
use std::time::Duration;

use opencl_sys::CL_OUT_OF_RESOURCES;

use crate::ffi::CLResult;
use crate::lock::lock;

type Work = Box<dyn FnOnce() + Send>;

static THREADS: Mutex<Vec<libc::pthread_t>> = Mutex::new(Vec::new());

/// Starts a thread that `join_all` waits for.
pub fn spawn(work: Work) -> CLResult<()> {
    reap();
    let thread = start(work)?;
    lock(&THREADS).push(thread);
    Ok(())
}

/// Starts a thread that nobody waits for. The library must stay mapped as long as it runs.
pub fn spawn_detached(work: Work) -> CLResult<()> {
    let thread = start(work)?;
    // SAFETY: just started, neither joined nor detached.
    unsafe { libc::pthread_detach(thread) };
    Ok(())
}

fn start(work: Work) -> CLResult<libc::pthread_t> {
    let work = Box::into_raw(Box::new(work));
    let mut thread = 0;
    // SAFETY: default attributes; `run` takes the box over, once.
    let failed =
        unsafe { libc::pthread_create(&raw mut thread, std::ptr::null(), run, work.cast()) };
    if failed != 0 {
        // SAFETY: no thread took it over.
        drop(unsafe { Box::from_raw(work) });
        return Err(CL_OUT_OF_RESOURCES);
    }
    Ok(thread)
}

extern "C" fn run(work: *mut c_void) -> *mut c_void {
    // SAFETY: `start` made this box for this call.
    let work = unsafe { Box::from_raw(work.cast::<Work>()) };
    work();
    std::ptr::null_mut()
}

/// Joins the threads that have ended.
fn reap() {
    lock(&THREADS).retain(|&thread| {
        // SAFETY: in the list, so started and not joined yet.
        (unsafe { libc::pthread_tryjoin_np(thread, std::ptr::null_mut()) }) != 0
    });
}

/// How many threads have not ended.
pub fn running() -> usize {
    reap();
    lock(&THREADS).len()
}

/// Waits until all have ended, at most for `limit`; returns how many have not.
pub fn join_all(limit: Duration) -> usize {
    let step = Duration::from_millis(1);
    let mut waited = Duration::ZERO;
    while running() > 0 && waited < limit {
        std::thread::sleep(step);
        waited += step;
    }
    running()
}
