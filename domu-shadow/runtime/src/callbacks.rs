//! The program's callbacks, off the driver's threads.
//!
//! A callback may call the API and so wait at the gate; on a driver's thread that would hold up the very commands that
//! the gate waits for. So the driver's threads only hand them over, and threads of ours run them: each begins when the one
//! before it has ended. Where that one takes long it may be waiting for those behind it, as with a driver that calls from
//! several threads it could: then the next begins beside it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

type Call = Box<dyn FnOnce() + Send>;

/// A callback that runs for longer than this holds up no other.
const LONG: Duration = Duration::from_millis(100);

struct Queue {
    calls: VecDeque<Call>,
    /// Callbacks begun so far.
    begun: u64,
    /// When the last one began; `None` once it has ended.
    last: Option<Instant>,
    /// Threads that run no callback.
    idle: usize,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    calls: VecDeque::new(),
    begun: 0,
    last: None,
    idle: 0,
});
static CHANGED: Condvar = Condvar::new();
/// Callbacks that a driver still owes us.
static OWED: AtomicUsize = AtomicUsize::new(0);

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    crate::locks::try_lock(&QUEUE)
}

/// In a child of `fork`: those that are due are the parent's, and the threads stayed there.
pub fn none_in_child() {
    let mut queue = queue();
    std::mem::forget(std::mem::take(&mut queue.calls));
    queue.last = None;
    queue.idle = 0;
}

/// Runs `call` on a callback thread, behind those given before. Also what the program's own call brings about: it
/// may hold a lock that its callback takes.
pub fn run(call: impl FnOnce() + Send + 'static) {
    let mut queue = queue();
    queue.calls.push_back(Box::new(call));
    queue.watch();
    // Else somebody looks at the clock already.
    if queue.last.is_none() || queue.calls.len() == 1 {
        CHANGED.notify_one();
    }
}

impl Queue {
    /// Calls that are due need a thread that runs none: to run them, or to see that one takes long.
    fn watch(&mut self) {
        if self.calls.is_empty() || self.idle > 0 {
            return;
        }
        let thread = std::thread::Builder::new().name("xl-gpu-callback".to_owned());
        match thread.spawn(work) {
            Ok(_) => self.idle += 1,
            Err(error) => log::error!("cannot start a thread for the program's callbacks: {error}"),
        }
    }
}

fn work() {
    let mut queue = queue();
    loop {
        let wait = match queue.last.map(|since| LONG.checked_sub(since.elapsed())) {
            _ if queue.calls.is_empty() => None,
            None | Some(None) => Some(Duration::ZERO),
            Some(rest) => rest,
        };
        queue = match wait {
            None => CHANGED.wait(queue).unwrap_or_else(PoisonError::into_inner),
            Some(Duration::ZERO) => run_next(queue),
            Some(rest) => match CHANGED.wait_timeout(queue, rest) {
                Ok((queue, _)) => queue,
                Err(poisoned) => poisoned.into_inner().0,
            },
        };
    }
}

fn run_next(mut queue: MutexGuard<'static, Queue>) -> MutexGuard<'static, Queue> {
    let Some(call) = queue.calls.pop_front() else {
        return queue;
    };
    queue.begun += 1;
    let number = queue.begun;
    queue.last = Some(Instant::now());
    queue.idle -= 1;
    queue.watch();
    drop(queue);
    call();
    queue = self::queue();
    queue.idle += 1;
    if queue.begun == number {
        queue.last = None;
    }
    queue
}

/// A callback was registered with a driver.
pub fn owe() {
    OWED.fetch_add(1, Ordering::AcqRel);
}

/// A driver made the callback, or refused to register it.
pub fn settle() {
    OWED.fetch_sub(1, Ordering::AcqRel);
}

/// How many callbacks drivers still owe.
pub fn owed() -> usize {
    OWED.load(Ordering::Acquire)
}
