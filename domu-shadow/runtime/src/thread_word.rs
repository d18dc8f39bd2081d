//! One pointer per thread, read by every API call.
//!
//! `thread_local!` in a shared library costs a call to `__tls_get_addr` (3 to 5 ns, half of what an API call may cost
//! here). The library is loaded at start as a rule, so on x86-64 the word lies in static TLS (*initial-exec*: two
//! loads); a library opened later takes its 8 bytes from the surplus that glibc keeps for that.

#[cfg(target_arch = "x86_64")]
mod static_tls {
    use std::arch::{asm, global_asm};

    global_asm!(
        ".pushsection .tbss.xl_gpu_thread_word,\"awT\",@nobits",
        ".balign 8",
        ".globl xl_gpu_thread_word",
        ".hidden xl_gpu_thread_word",
        ".type xl_gpu_thread_word, @object",
        ".size xl_gpu_thread_word, 8",
        "xl_gpu_thread_word: .zero 8",
        ".popsection",
    );

    /// The calling thread's pointer; null at first.
    #[inline]
    pub fn get<T>() -> *const T {
        let pointer;
        // SAFETY: the first load gets the variable's offset from the thread pointer, as the psABI has it for
        // initial-exec; the second one the thread's own copy, which lives as long as the thread.
        unsafe {
            asm!(
                "mov {0}, qword ptr [rip + xl_gpu_thread_word@GOTTPOFF]",
                "mov {0}, qword ptr fs:[{0}]",
                out(reg) pointer,
                options(nostack, preserves_flags, readonly),
            );
        }
        pointer
    }

    /// Changes the calling thread's pointer.
    pub fn set<T>(pointer: *const T) {
        // SAFETY: as for `get`; only this thread reads or writes its copy.
        unsafe {
            asm!(
                "mov {0}, qword ptr [rip + xl_gpu_thread_word@GOTTPOFF]",
                "mov qword ptr fs:[{0}], {1}",
                out(reg) _,
                in(reg) pointer,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod static_tls {
    use std::cell::Cell;

    thread_local! {
        static WORD: Cell<*const ()> = const { Cell::new(std::ptr::null()) };
    }

    /// The calling thread's pointer; null at first.
    #[inline]
    pub fn get<T>() -> *const T {
        WORD.get().cast()
    }

    /// Changes the calling thread's pointer.
    pub fn set<T>(pointer: *const T) {
        WORD.set(pointer.cast());
    }
}

pub use static_tls::{get, set};
