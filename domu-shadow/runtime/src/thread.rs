//! Threads, as the kernel numbers them.

/// The calling thread's kernel id.
pub fn current() -> i32 {
    // SAFETY: gettid(2) takes nothing and cannot fail.
    unsafe { libc::gettid() }
}
