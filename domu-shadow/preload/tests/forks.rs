//! Children by `fork`: what works of OpenCL in them does not hang, whatever the parent's threads were doing.
//!
//! They do only what needs no thread of a driver's, of which they have none.

mod common;

use common::moving::{self, Store, alone, begin};
use common::*;
use runtime::mover::{Detached, OwnedBytes};
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

/// Seconds after which a child counts as hanging.
const HANGS: u32 = 60;

/// Whether `body` says so in a child.
fn in_child(body: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child uses the library under test, and ends without exit handlers.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: these take numbers only.
        unsafe {
            libc::alarm(HANGS);
            libc::_exit(i32::from(!body()));
        }
    }
    let mut status = 0;
    // SAFETY: `status` has room for the answer.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "the child ended by {status:#x}");
    libc::WEXITSTATUS(status) == 0
}

/// What a new buffer's creation says.
fn creates(gpu: &Gpu) -> i32 {
    let mut code = i32::MIN;
    let flags = CL_MEM_READ_WRITE;
    call!(clCreateBuffer(
        gpu.context,
        flags,
        64,
        null_mut(),
        &raw mut code
    ));
    code
}

fn detached() -> (Detached, Store) {
    let quiesced = begin().quiesce(moving::PATIENCE);
    let mut quiesced = quiesced.map_err(|(_, error)| error).unwrap();
    let mut store = Store::default();
    for region in quiesced.last_round().regions {
        let size = region.object_size as usize;
        let bytes = quiesced.read(region.object, 0, OwnedBytes::zeroed(size));
        store.0.insert(region.object, bytes.unwrap().into_vec());
    }
    let detached = quiesced.unload().map_err(|(_, error)| error).unwrap();
    (detached, store)
}

#[test]
fn a_fork_in_the_middle_of_a_move_waits_for_its_end() {
    let _alone = alone();
    let gpu = Gpu::new();
    gpu.buffer(CL_MEM_READ_WRITE, 100_000);
    std::thread::scope(|scope| {
        let (go, at_go) = mpsc::channel();
        let (known, is_known) = mpsc::channel();
        let gpu = &gpu;
        let forking = scope.spawn(move || {
            assert_eq!(creates(gpu), CL_SUCCESS);
            known.send(()).unwrap();
            at_go.recv().unwrap();
            in_child(|| creates(gpu) == CL_SUCCESS)
        });
        is_known.recv().unwrap();
        let (detached, store) = detached();
        go.send(()).unwrap();
        // Time to fork too early; a fork that waits as it should shows nothing.
        std::thread::sleep(Duration::from_millis(200));
        let (arriving, _) = detached.reload().map_err(|(_, error)| error).unwrap();
        store.give_back(arriving);
        assert!(forking.join().unwrap());
    });
}

#[test]
fn a_child_that_could_not_wait_has_no_opencl() {
    let _alone = alone();
    let gpu = Gpu::new();
    let (detached, store) = detached();
    let gpu = &gpu;
    std::thread::scope(|scope| {
        // It has never called OpenCL.
        let forking = scope.spawn(|| {
            in_child(|| {
                let mut count = 0;
                let code = call!(clGetPlatformIDs(0, null_mut(), &raw mut count));
                code == CL_OUT_OF_RESOURCES && creates(gpu) == CL_OUT_OF_RESOURCES
            })
        });
        assert!(forking.join().unwrap());
    });
    let (arriving, _) = detached.reload().map_err(|(_, error)| error).unwrap();
    store.give_back(arriving);
    assert_eq!(creates(gpu), CL_SUCCESS);
}

static CALLS: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn count(_event: Handle, _status: i32, _user: *mut c_void) {
    CALLS.fetch_add(1, Ordering::SeqCst);
}

unsafe extern "C" fn tell_and_count(_event: Handle, _status: i32, user: *mut c_void) {
    // SAFETY: the test passes a sender that outlives the callback.
    unsafe { &*user.cast::<Sender<()>>() }.send(()).unwrap();
    CALLS.fetch_add(1, Ordering::SeqCst);
}

fn call_back(gpu: &Gpu, call: unsafe extern "C" fn(Handle, i32, *mut c_void), user: *mut c_void) {
    let event = make!(clCreateUserEvent(gpu.context));
    ok!(clSetEventCallback(event, CL_COMPLETE, Some(call), user));
    ok!(clSetUserEventStatus(event, CL_COMPLETE));
    ok!(clReleaseEvent(event));
}

#[test]
fn callbacks_come_in_a_child() {
    let _alone = alone();
    let gpu = Gpu::new();
    let (came, comes) = mpsc::channel::<()>();
    let came = Box::into_raw(Box::new(came)).cast();
    call_back(&gpu, tell_and_count, came);
    comes.recv().unwrap();
    let came_in_child = in_child(|| {
        let before = CALLS.load(Ordering::SeqCst);
        call_back(&gpu, count, null_mut());
        while CALLS.load(Ordering::SeqCst) == before {
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    });
    assert!(came_in_child);
}
