//! Streams that are being captured into graphs.
//!
//! Between the beginning of a capture and its end the program makes calls that have to follow each other, and a move waits for the end. So
//! while a capture is open, calls still enter a gate that drains ([`runtime::gate::Pass::Together`]).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use runtime::{gate, locks};

use crate::abi::{CUDA_SUCCESS, CUstream};
use crate::driver::functions::driver;

/// `CU_STREAM_PER_THREAD`.
const PER_THREAD: usize = 2;

static STREAMS: Mutex<Vec<Captured>> = Mutex::new(Vec::new());
/// How many those are.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A stream, as a thread means it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    handle: usize,
    /// Of a thread's own default stream: the thread and its current context.
    owner: (i32, usize),
}

/// One that is being captured, with the context that was current.
struct Captured {
    stream: Stream,
    context: usize,
}

fn current() -> usize {
    let mut context = std::ptr::null_mut();
    // SAFETY: writes a pointer.
    let code = unsafe { driver().cuCtxGetCurrent(&raw mut context) };
    if code == CUDA_SUCCESS {
        context.addr()
    } else {
        0
    }
}

impl Stream {
    /// What `handle` means to this thread, in a function whose default stream is the thread's own or the context's.
    pub fn of(handle: CUstream, per_thread: bool) -> Stream {
        let handle = match handle.addr() {
            0 if per_thread => PER_THREAD,
            handle => handle,
        };
        let owner = match handle {
            // SAFETY: takes nothing.
            PER_THREAD => (unsafe { libc::gettid() }, current()),
            _ => (0, 0),
        };
        Stream { handle, owner }
    }
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    locks::try_lock(&STREAMS)
}

/// A capture has begun. Called inside the gate.
pub fn begin(stream: Stream) {
    let context = current();
    change(|streams| {
        if streams.iter().all(|it| it.stream != stream) {
            streams.push(Captured { stream, context });
        }
    });
}

/// The stream is captured no more, or is about to be destroyed.
pub fn end(stream: Stream) {
    if open() > 0 {
        change(|streams| streams.retain(|it| it.stream != stream));
    }
}

/// The context is gone, and all its streams with it.
pub fn end_context(context: usize) {
    if open() > 0 {
        change(|streams| streams.retain(|it| it.context != context));
    }
}

fn change(how: impl FnOnce(&mut Vec<Captured>)) {
    let mut streams = locks::lock(&STREAMS);
    let before = streams.len();
    how(&mut streams);
    OPEN.store(streams.len(), Ordering::SeqCst);
    match (before, streams.len()) {
        (0, 1..) => gate::begin_together(),
        (1.., 0) => gate::end_together(),
        _ => (),
    }
}

/// How many captures are open.
#[inline]
pub fn open() -> usize {
    OPEN.load(Ordering::Relaxed)
}
