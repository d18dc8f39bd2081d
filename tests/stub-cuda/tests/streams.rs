//! Streams, events, functions of the program, captures and graphs.

mod support;

use std::ffi::c_void;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::thread;

use support::{Access, Cuda, Properties};

const GRANULE: usize = 2 << 20;

/// A context of the test's own.
fn cuda() -> Cuda {
    let cuda = Cuda::load("");
    let mut context = 0_usize;
    cuda.ok("cuCtxCreate_v2", (&raw mut context, 0_u32, 0_i32));
    cuda
}

fn stream(cuda: &Cuda, flags: u32) -> usize {
    let mut stream = 0_usize;
    cuda.ok("cuStreamCreate", (&raw mut stream, flags));
    stream
}

/// A value in host memory that a stream can be made to wait for.
fn flag(cuda: &Cuda) -> *mut u32 {
    let mut at = std::ptr::null_mut::<u32>();
    cuda.ok("cuMemHostAlloc", (&raw mut at, 4_usize, 0_u32));
    // SAFETY: just allocated.
    unsafe { at.write(0) };
    at
}

fn hold(cuda: &Cuda, stream: usize, flag: *mut u32) {
    cuda.ok(
        "cuStreamWaitValue32_v2",
        (stream, flag.expose_provenance() as u64, 1_u32, 0_u32),
    );
}

fn let_go(flag: *mut u32) {
    // SAFETY: host memory of the test's, which the stream only reads.
    unsafe { flag.write_volatile(1) };
}

const NOT_READY: i32 = 600;

#[test]
fn the_default_stream_waits_for_blocking_ones_and_they_for_it() {
    let cuda = cuda();
    let (blocking, free, flag) = (stream(&cuda, 0), stream(&cuda, 1), flag(&cuda));
    hold(&cuda, blocking, flag);
    let at = cuda.allocate(64);
    cuda.ok("cuMemsetD8Async", (at, 1_u8, 64_usize, 0_usize));
    cuda.ok("cuMemsetD8Async", (at, 2_u8, 64_usize, free));
    cuda.ok("cuStreamSynchronize", (free,));
    assert_eq!(cuda.call("cuStreamQuery", (0_usize,)), NOT_READY);
    let other = stream(&cuda, 0);
    cuda.ok("cuMemsetD8Async", (at, 3_u8, 64_usize, other));
    assert_eq!(cuda.call("cuStreamQuery", (other,)), NOT_READY);
    let_go(flag);
    cuda.ok("cuStreamSynchronize", (other,));
    let mut found = 0_u8;
    cuda.ok("cuMemcpyDtoH_v2", (&raw mut found, at, 1_usize));
    assert_eq!(found, 3);
}

#[test]
fn events_tell_what_was_before_them() {
    let cuda = cuda();
    let (one, two, flag) = (stream(&cuda, 1), stream(&cuda, 1), flag(&cuda));
    let (mut first, mut second) = (0_usize, 0_usize);
    cuda.ok("cuEventCreate", (&raw mut first, 0_u32));
    cuda.ok("cuEventCreate", (&raw mut second, 0_u32));
    cuda.ok("cuEventQuery", (first,));
    let mut time = -1_f32;
    assert_eq!(
        cuda.call("cuEventElapsedTime", (&raw mut time, first, second)),
        400
    );
    cuda.ok("cuEventRecord", (first, one));
    hold(&cuda, one, flag);
    cuda.ok("cuEventRecord", (second, one));
    cuda.ok("cuStreamWaitEvent", (two, second, 0_u32));
    assert_eq!(cuda.call("cuStreamQuery", (two,)), NOT_READY);
    assert_eq!(cuda.call("cuEventQuery", (second,)), NOT_READY);
    assert_eq!(
        cuda.call("cuEventElapsedTime", (&raw mut time, first, second)),
        NOT_READY
    );
    let_go(flag);
    cuda.ok("cuEventSynchronize", (second,));
    cuda.ok("cuStreamSynchronize", (two,));
    cuda.ok("cuEventElapsedTime", (&raw mut time, first, second));
    assert!(time > 0.0, "{time}");
    cuda.ok("cuEventDestroy_v2", (first,));
    assert_eq!(cuda.call("cuEventQuery", (first,)), 400);
}

static CALLED: AtomicU32 = AtomicU32::new(0);
static ANSWER: AtomicI32 = AtomicI32::new(-1);

extern "C" fn called(data: *mut c_void) {
    let cuda = Cuda::again();
    ANSWER.store(cuda.call("cuCtxSynchronize", ()), Ordering::SeqCst);
    CALLED.fetch_add(data.addr() as u32, Ordering::SeqCst);
}

#[test]
fn functions_of_the_program_may_not_call_the_driver() {
    let cuda = cuda();
    let function: extern "C" fn(*mut c_void) = called;
    cuda.ok("cuLaunchHostFunc", (stream(&cuda, 0), function, 5_usize));
    cuda.ok("cuCtxSynchronize", ());
    assert_eq!(
        (CALLED.load(Ordering::SeqCst), ANSWER.load(Ordering::SeqCst)),
        (5, 800)
    );
}

#[test]
fn a_capture_becomes_a_graph() {
    let cuda = cuda();
    let (one, two) = (stream(&cuda, 1), stream(&cuda, 1));
    let at = cuda.allocate(1024);
    let (mut fork, mut join) = (0_usize, 0_usize);
    cuda.ok("cuEventCreate", (&raw mut fork, 2_u32));
    cuda.ok("cuEventCreate", (&raw mut join, 2_u32));
    cuda.ok("cuMemsetD8_v2", (at, 0_u8, 1024_usize));
    cuda.ok("cuStreamBeginCapture_v2", (one, 2_u32));
    cuda.ok("cuMemsetD8Async", (at, 1_u8, 512_usize, one));
    cuda.ok("cuEventRecord", (fork, one));
    cuda.ok("cuStreamWaitEvent", (two, fork, 0_u32));
    cuda.ok("cuMemcpyDtoDAsync_v2", (at + 512, at, 512_usize, two));
    let (mut status, mut id) = (0_u32, 0_u64);
    cuda.ok(
        "cuStreamGetCaptureInfo",
        (two, &raw mut status, &raw mut id),
    );
    assert!(status == 1 && id > 0);
    cuda.ok("cuEventRecord", (join, two));
    assert_eq!(cuda.call("cuEventQuery", (join,)), 907);
    cuda.ok("cuStreamWaitEvent", (one, join, 0_u32));
    let (mut graph, mut ready, mut count) = (0_usize, 0_usize, 0_usize);
    cuda.ok("cuStreamEndCapture", (one, &raw mut graph));
    cuda.ok("cuStreamIsCapturing", (two, &raw mut status));
    assert_eq!(status, 0);
    cuda.ok(
        "cuGraphGetNodes",
        (graph, std::ptr::null_mut::<usize>(), &raw mut count),
    );
    assert_eq!(count, 2);
    cuda.ok(
        "cuGraphInstantiateWithFlags",
        (&raw mut ready, graph, 0_u64),
    );
    let mut found = 9_u8;
    cuda.ok("cuMemcpyDtoH_v2", (&raw mut found, at, 1_usize));
    assert_eq!(found, 0);
    cuda.ok("cuGraphLaunch", (ready, one));
    cuda.ok("cuStreamSynchronize", (one,));
    cuda.ok("cuMemcpyDtoH_v2", (&raw mut found, at + 1023, 1_usize));
    assert_eq!(found, 1);
}

#[test]
fn captures_end_by_what_they_forbid() {
    let cuda = cuda();
    let one = stream(&cuda, 0);
    let (mut graph, mut at) = (0_usize, 0_u64);
    cuda.ok("cuStreamBeginCapture_v2", (one, 0_u32));
    assert_eq!(cuda.call("cuMemAlloc_v2", (&raw mut at, 64_usize)), 900);
    assert_eq!(cuda.call("cuStreamEndCapture", (one, &raw mut graph)), 901);
    // The default stream would have to wait for the captured one.
    let at = cuda.allocate(64);
    cuda.ok("cuStreamBeginCapture_v2", (one, 2_u32));
    assert_eq!(
        cuda.call("cuMemsetD8Async", (at, 0_u8, 64_usize, 0_usize)),
        906
    );
    assert_eq!(cuda.call("cuStreamEndCapture", (one, &raw mut graph)), 901);
    // Relaxed threads may.
    cuda.ok("cuStreamBeginCapture_v2", (one, 0_u32));
    let mut mode = 2_u32;
    cuda.ok("cuThreadExchangeStreamCaptureMode", (&raw mut mode,));
    let at = cuda.allocate(64);
    cuda.ok("cuThreadExchangeStreamCaptureMode", (&raw mut mode,));
    assert_eq!(mode, 2);
    cuda.ok("cuStreamEndCapture", (one, &raw mut graph));
    cuda.ok("cuMemFree_v2", (at,));
    assert_eq!(cuda.call("cuStreamEndCapture", (one, &raw mut graph)), 401);
}

#[test]
fn contexts_are_per_thread_and_end_with_what_they_have() {
    let cuda = cuda();
    let (mut context, mut other) = (0_usize, 0_usize);
    cuda.ok("cuCtxGetCurrent", (&raw mut context,));
    let at = cuda.allocate(64);
    let seen = thread::spawn(|| {
        let cuda = Cuda::again();
        let mut context = 1_usize;
        cuda.ok("cuCtxGetCurrent", (&raw mut context,));
        let mut at = 0_u64;
        (context, cuda.call("cuMemAlloc_v2", (&raw mut at, 64_usize)))
    });
    assert_eq!(seen.join().unwrap(), (0, 201));
    cuda.ok("cuCtxCreate_v2", (&raw mut other, 0_u32, 0_i32));
    // Memory of a context can be used in another one of the device.
    cuda.ok("cuMemsetD8_v2", (at, 1_u8, 64_usize));
    cuda.ok("cuCtxDestroy_v2", (context,));
    assert_eq!(cuda.call("cuMemsetD8_v2", (at, 1_u8, 64_usize)), 1);
    cuda.ok("cuCtxDestroy_v2", (other,));
    // What stands below is gone.
    assert_eq!(cuda.call("cuCtxSynchronize", ()), 709);
}

#[test]
fn a_fault_stays_with_its_context() {
    let cuda = cuda();
    let (stream, flag) = (stream(&cuda, 0), flag(&cuda));
    let properties = Properties::of_device(0, 0);
    let mut handle = 0_u64;
    cuda.ok(
        "cuMemCreate",
        (&raw mut handle, GRANULE, &raw const properties, 0_u64),
    );
    let range = cuda.reserve(GRANULE, 0);
    cuda.ok("cuMemMap", (range, GRANULE, 0_usize, handle, 0_u64));
    let access = Access::of_device(0, 3);
    cuda.ok(
        "cuMemSetAccess",
        (range, GRANULE, &raw const access, 1_usize),
    );
    hold(&cuda, stream, flag);
    cuda.ok("cuMemsetD8Async", (range, 1_u8, 64_usize, stream));
    // The memory goes before the work that was given can begin.
    cuda.ok("cuMemUnmap", (range, GRANULE));
    let_go(flag);
    assert_eq!(cuda.call("cuStreamSynchronize", (stream,)), 700);
    let mut at = 0_u64;
    assert_eq!(cuda.call("cuMemAlloc_v2", (&raw mut at, 64_usize)), 700);
    let mut context = 0_usize;
    cuda.ok("cuCtxGetCurrent", (&raw mut context,));
    cuda.ok("cuCtxDestroy_v2", (context,));
    let mut fresh = 0_usize;
    cuda.ok("cuCtxCreate_v2", (&raw mut fresh, 0_u32, 0_i32));
    cuda.allocate(64);
}
