//! Capture of streams: their work becomes nodes of a graph.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use crate::abi::*;
use crate::graph::Graph;
use crate::lock::lock;
use crate::work::Work;

pub const GLOBAL: u32 = 0;
pub const RELAXED: u32 = 2;

/// One capture, from begin to end.
pub struct Capture {
    pub id: u64,
    pub graph: Arc<Graph>,
    /// The stream that it began on.
    pub origin: u64,
    pub context: Handle,
    pub is_blocking: bool,
    mode: u32,
    thread: ThreadId,
    invalid: Mutex<bool>,
    /// Lists of nodes that the program was given, which stay as long as it may look.
    kept: Mutex<Vec<Box<[Handle]>>>,
}

/// A place in a capture: behind some nodes.
#[derive(Clone)]
pub struct Place {
    pub capture: Arc<Capture>,
    pub after: Vec<Handle>,
}

/// A stream's part in a capture.
pub type Joined = Place;

static OPEN: Mutex<Vec<Arc<Capture>>> = Mutex::new(Vec::new());

thread_local! {
    static MODE: Cell<u32> = const { Cell::new(GLOBAL) };
}

/// The mode of this thread, exchanged for another.
pub fn exchange_mode(mode: u32) -> u32 {
    MODE.replace(mode)
}

impl Capture {
    /// Begins one on a stream.
    pub fn begin(
        origin: u64,
        context: Handle,
        is_blocking: bool,
        mode: u32,
        graph: Arc<Graph>,
    ) -> Arc<Capture> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let capture = Arc::new(Capture {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            graph,
            origin,
            context,
            is_blocking,
            mode,
            thread: thread::current().id(),
            invalid: Mutex::new(false),
            kept: Mutex::default(),
        });
        lock(&OPEN).push(capture.clone());
        capture
    }

    /// Whether this thread may end it.
    ///
    /// # Errors
    /// `CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD`.
    pub fn check_thread(&self) -> Outcome<()> {
        match self.mode == RELAXED || self.thread == thread::current().id() {
            true => Ok(()),
            false => Err(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD),
        }
    }

    /// # Errors
    /// `CUDA_ERROR_STREAM_CAPTURE_INVALIDATED`.
    pub fn end(&self) -> Outcome<()> {
        lock(&OPEN).retain(|open| open.id != self.id);
        self.check()
    }

    /// Keeps a list for the program to look at.
    pub fn keep(&self, nodes: Vec<Handle>) -> *const Handle {
        let mut kept = lock(&self.kept);
        kept.push(nodes.into());
        kept.last().map_or(std::ptr::null(), |nodes| nodes.as_ptr())
    }

    /// # Errors
    /// `CUDA_ERROR_STREAM_CAPTURE_INVALIDATED`.
    pub fn check(&self) -> Outcome<()> {
        match *lock(&self.invalid) {
            true => Err(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED),
            false => Ok(()),
        }
    }

    pub fn invalidate(&self) {
        *lock(&self.invalid) = true;
    }
}

impl Place {
    /// Adds work behind the place, which moves on.
    ///
    /// # Errors
    /// `CUDA_ERROR_STREAM_CAPTURE_INVALIDATED`.
    pub fn add(&mut self, work: Work) -> Outcome<()> {
        self.capture.check()?;
        let node = self.capture.graph.add(work, self.after.clone())?;
        self.after = vec![node];
        Ok(())
    }
}

/// A call that captures forbid, because work of others could be captured by it, or wait for ever.
///
/// # Errors
/// `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED`, and the captures are invalid from then on.
pub fn unsafe_call() -> Outcome<()> {
    if MODE.get() == RELAXED {
        return Ok(());
    }
    let this = thread::current().id();
    let forbids = |capture: &&Arc<Capture>| match capture.mode {
        GLOBAL => MODE.get() == GLOBAL || capture.thread == this,
        RELAXED => false,
        _ => capture.thread == this,
    };
    let open = lock(&OPEN);
    let forbidding: Vec<_> = open.iter().filter(forbids).collect();
    forbidding.iter().for_each(|capture| capture.invalidate());
    match forbidding.is_empty() {
        true => Ok(()),
        false => Err(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED),
    }
}

/// Whether the legacy default stream would have to wait for a stream that is captured. The capture is invalid then.
pub fn is_legacy_forbidden(is_legacy: bool, context: Handle) -> bool {
    let open = lock(&OPEN);
    let mut concerned = open
        .iter()
        .filter(|capture| is_legacy && capture.is_blocking && capture.context == context)
        .peekable();
    let forbidden = concerned.peek().is_some();
    concerned.for_each(|capture| capture.invalidate());
    forbidden
}

/// Whether a stream is captured that the legacy default stream would have to wait for.
pub fn concerns_legacy(context: Handle) -> bool {
    let open = lock(&OPEN);
    open.iter()
        .any(|capture| capture.is_blocking && capture.context == context)
}
