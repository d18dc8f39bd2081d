//! Threads, as the kernel numbers them.

/// The calling thread's kernel id.
pub fn current() -> i32 {
    // SAFETY: gettid(2) takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

/// Names the calling thread, as `/proc` shows it: 15 bytes at most.
pub fn rename(name: &str) {
    let mut text = [0u8; 16];
    let len = name.len().min(text.len() - 1);
    text[..len].copy_from_slice(&name.as_bytes()[..len]);
    // SAFETY: prctl(2) reads 16 bytes with a zero among them, and cannot fail for them.
    unsafe { libc::prctl(libc::PR_SET_NAME, text.as_ptr()) };
}

/// Runs `f` with every signal blocked, so that threads made in it never run the program's handlers.
pub fn with_all_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    let mut all = std::mem::MaybeUninit::uninit();
    let mut before = std::mem::MaybeUninit::uninit();
    // SAFETY: both sets are plain data that the calls fill; pthread_sigmask changes this thread's mask only.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let result = f();
    // SAFETY: `before` was filled by the call above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}
