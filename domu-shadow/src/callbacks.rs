//! The program's callbacks, off the driver's threads.
//!
//! A callback may call OpenCL and so wait at the gate; on a driver's thread that would hold up the very commands that
//! the gate waits for. So the driver's threads only hand them over, and one thread of ours runs them, in order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

type Call = Box<dyn FnOnce() + Send>;

static QUEUE: Mutex<Option<Sender<Call>>> = Mutex::new(None);
/// Callbacks that a driver still owes us.
static OWED: AtomicUsize = AtomicUsize::new(0);

/// Runs `call` on the callback thread, behind those given before. Also what the program's own call brings about: it
/// may hold a lock that its callback takes.
pub fn run(call: impl FnOnce() + Send + 'static) {
    let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    let sender = queue.get_or_insert_with(|| {
        let (sender, receiver) = channel::<Call>();
        let thread = std::thread::Builder::new().name("xl-gpu-callback".to_owned());
        let work = move || receiver.into_iter().for_each(|call| call());
        if let Err(error) = thread.spawn(work) {
            log::error!("cannot start the thread for OpenCL callbacks: {error}");
        }
        sender
    });
    if sender.send(Box::new(call)).is_err() {
        log::error!("an OpenCL callback is lost: its thread has ended");
    }
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
