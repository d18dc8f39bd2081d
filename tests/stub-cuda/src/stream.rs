//! Streams: each has a thread that does its work in order, when what it waits for is done.

use std::collections::VecDeque;
use std::ffi::c_uint;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use crate::abi::*;
use crate::capture::Joined;
use crate::fence::{Fault, Fence};
use crate::lock::lock;
use crate::table::{self, Table};
use crate::work::Work;

struct Task {
    waits: Vec<Arc<Fence>>,
    work: Work,
    fence: Arc<Fence>,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    last: Option<Arc<Fence>>,
    has_worker: bool,
}

pub struct Stream {
    pub handle: Handle,
    pub context: Handle,
    pub device: usize,
    pub flags: c_uint,
    pub priority: i32,
    /// Unique in the process.
    pub id: u64,
    pub fault: Arc<Fault>,
    /// The capture that it is part of.
    pub capture: Mutex<Option<Joined>>,
    queue: Mutex<Queue>,
    wake: Condvar,
    ended: AtomicBool,
}

/// Those with handles of their own: not the default streams.
pub static STREAMS: Table<Stream> = Table::new();

/// Destroyed, with work that is not over.
static ENDING: Mutex<Vec<Arc<Stream>>> = Mutex::new(Vec::new());

pub fn ending() -> Vec<Arc<Stream>> {
    let mut ending = lock(&ENDING);
    ending.retain(|stream| stream.last().is_some());
    ending.clone()
}

impl Stream {
    pub fn new(
        handle: Handle,
        (context, device): (Handle, usize),
        fault: Arc<Fault>,
        flags: c_uint,
        priority: i32,
    ) -> Arc<Stream> {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        Arc::new(Stream {
            handle,
            context,
            device,
            flags,
            priority,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            fault,
            capture: Mutex::new(None),
            queue: Mutex::default(),
            wake: Condvar::new(),
            ended: AtomicBool::new(false),
        })
    }

    /// One with a handle of its own.
    pub fn create(
        place: (Handle, usize),
        fault: Arc<Fault>,
        flags: c_uint,
        priority: i32,
    ) -> Arc<Stream> {
        let handle = table::new_handle();
        let stream = Stream::new(handle, place, fault, flags, priority);
        STREAMS.insert(handle, stream.clone());
        stream
    }

    /// Whether it waits for the legacy default stream, and that one for it.
    pub fn is_blocking(&self) -> bool {
        self.flags & CU_STREAM_NON_BLOCKING == 0
    }

    /// The end of the work that was given last, if it is not over.
    pub fn last(&self) -> Option<Arc<Fence>> {
        let last = lock(&self.queue).last.clone();
        last.filter(|fence| fence.done().is_none())
    }

    /// Gives it work. It begins when all before it and `waits` are done.
    pub fn submit(self: &Arc<Self>, waits: Vec<Arc<Fence>>, work: Work) -> Arc<Fence> {
        let fence = Fence::new();
        let mut queue = lock(&self.queue);
        queue.last = Some(fence.clone());
        queue.tasks.push_back(Task {
            waits,
            work,
            fence: fence.clone(),
        });
        if !queue.has_worker {
            queue.has_worker = true;
            let stream = self.clone();
            let builder = thread::Builder::new().name("stub-stream".to_owned());
            if builder.spawn(move || stream.serve()).is_err() {
                self.fault.set(CUDA_ERROR_OPERATING_SYSTEM);
                queue.has_worker = false;
                queue.tasks.drain(..).for_each(|task| task.fence.signal());
            }
        }
        self.wake.notify_one();
        fence
    }

    /// Its handle is good no more; what it was given goes on.
    pub fn destroy(self: &Arc<Self>) {
        lock(&ENDING).push(self.clone());
        STREAMS.remove(self.handle);
        self.end();
    }

    /// No more work comes; its thread ends when all is done.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        let _queue = lock(&self.queue);
        self.wake.notify_all();
    }

    fn serve(self: Arc<Self>) {
        while let Some(task) = self.next() {
            task.waits.iter().for_each(|fence| fence.wait());
            let stopped = || self.fault.check().is_err();
            if self.fault.check().is_ok()
                && let Err(code) = task.work.run(self.device, &stopped)
            {
                self.fault.set(code);
            }
            drop(task.work);
            task.fence.signal();
        }
    }

    fn next(&self) -> Option<Task> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(task) = queue.tasks.pop_front() {
                return Some(task);
            }
            if self.ended.load(Ordering::SeqCst) {
                queue.has_worker = false;
                return None;
            }
            queue = self
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
