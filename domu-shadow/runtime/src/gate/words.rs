//! Each thread's word, and all of them.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::state::{BEREFT, STATE};
use crate::{locks, thread, thread_word};

/// Told with the lock of the words when the state has changed.
pub(super) static CHANGED: Condvar = Condvar::new();
static THREADS: Mutex<Threads> = Mutex::new(Threads {
    all: Vec::new(),
    idle: Vec::new(),
});

/// One thread's word: how deep it is inside API calls (callbacks may call again).
pub(super) struct ThreadWord {
    pub(super) inside: AtomicU32,
    thread: AtomicI32,
}

pub(super) struct Threads {
    all: Vec<&'static ThreadWord>,
    idle: Vec<&'static ThreadWord>,
}

thread_local! {
    static RETURNED: ReturnAtExit = const { ReturnAtExit };
}

/// Hands the thread's word to the next new thread when this one ends.
struct ReturnAtExit;

impl Drop for ReturnAtExit {
    fn drop(&mut self) {
        if let Some(word) = mine() {
            thread_word::set::<ThreadWord>(std::ptr::null());
            word.thread.store(0, Ordering::Relaxed);
            if STATE.load(Ordering::SeqCst) & BEREFT == 0 {
                lock().idle.push(word);
            }
        }
    }
}

pub(super) fn lock() -> MutexGuard<'static, Threads> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The calling thread's word, once it has one.
#[inline]
pub(super) fn mine() -> Option<&'static ThreadWord> {
    // SAFETY: the pointer is null or was set by `register` from a leaked reference.
    unsafe { thread_word::get::<ThreadWord>().as_ref() }
}

/// Whether the calling thread has made a call.
pub fn knows_this_thread() -> bool {
    mine().is_some()
}

/// Whether the calling thread is in a call.
pub fn is_inside() -> bool {
    mine().is_some_and(|word| word.inside.load(Ordering::Relaxed) > 0)
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    locks::try_lock(&THREADS)
}

/// The kernel's ids of the threads that ever made an API call and still live.
pub fn known_threads() -> Vec<i32> {
    lock()
        .all
        .iter()
        .map(|word| word.thread.load(Ordering::Relaxed))
        .filter(|&id| id != 0)
        .collect()
}

/// Gives the calling thread a word, and calls `first`. `None` in a child that was forked in the middle of a move.
#[cold]
pub(super) fn register(first: fn()) -> Option<&'static ThreadWord> {
    if STATE.load(Ordering::SeqCst) & BEREFT != 0 {
        return None;
    }
    let mut threads = lock();
    let word = threads.idle.pop().unwrap_or_else(|| {
        let word: &'static ThreadWord = Box::leak(Box::new(ThreadWord {
            inside: AtomicU32::new(0),
            thread: AtomicI32::new(0),
        }));
        threads.all.push(word);
        word
    });
    word.thread.store(thread::current(), Ordering::Relaxed);
    drop(threads);
    thread_word::set::<ThreadWord>(word);
    // Fails only while the thread's locals are being destroyed; the word is then never handed on.
    let _ = RETURNED.try_with(|_| ());
    first();
    Some(word)
}

/// How many threads are inside, the calling one not counted.
pub(super) fn inside() -> usize {
    let mine = mine();
    let is_mine = |word: &'static ThreadWord| mine.is_some_and(|m| std::ptr::eq(m, word));
    lock()
        .all
        .iter()
        .filter(|word| !is_mine(word) && word.inside.load(Ordering::Acquire) > 0)
        .count()
}
