//! Streams that are being captured into graphs.
//!
//! Between the beginning of a capture and its end the program makes calls that have to follow each other, and a move waits for the end. So
//! while a capture is open, calls still enter a gate that drains ([`super::entry`]).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use runtime::locks;

use crate::abi::CUstream;

/// `CU_STREAM_PER_THREAD`.
const PER_THREAD: usize = 2;

static STREAMS: Mutex<Vec<Stream>> = Mutex::new(Vec::new());
/// How many those are.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A stream, as a thread means it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    handle: usize,
    /// Of a thread's own default stream.
    thread: i32,
}

impl Stream {
    /// What `handle` means to this thread, in a function whose default stream is the thread's own or the context's.
    pub fn of(handle: CUstream, per_thread: bool) -> Stream {
        let handle = match handle.addr() {
            0 if per_thread => PER_THREAD,
            handle => handle,
        };
        let thread = if handle == PER_THREAD {
            // SAFETY: takes nothing.
            unsafe { libc::gettid() }
        } else {
            0
        };
        Stream { handle, thread }
    }
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    locks::try_lock(&STREAMS)
}

/// A capture has begun. Called inside the gate.
pub fn begin(stream: Stream) {
    let mut streams = locks::lock(&STREAMS);
    if !streams.contains(&stream) {
        streams.push(stream);
    }
    OPEN.store(streams.len(), Ordering::SeqCst);
}

/// The stream is captured no more, or is about to be destroyed.
pub fn end(stream: Stream) {
    if open() > 0 {
        let mut streams = locks::lock(&STREAMS);
        streams.retain(|it| *it != stream);
        OPEN.store(streams.len(), Ordering::SeqCst);
    }
}

/// How many captures are open.
#[inline]
pub fn open() -> usize {
    OPEN.load(Ordering::Relaxed)
}
