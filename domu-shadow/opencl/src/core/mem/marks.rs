//! Which memory objects the program's commands have named since a capture looked.

use std::sync::atomic::{AtomicBool, Ordering};

/// While set, commands that may write a buffer mark it.
pub static TRACKING: AtomicBool = AtomicBool::new(false);

/// Set by the program's threads, taken by a capture.
pub(super) struct Marks {
    /// A command that may write the object, by what its arguments say.
    written: AtomicBool,
    /// A command that names it at all: a kernel may write it after all, its `const` cast away.
    used: AtomicBool,
}

impl Marks {
    /// Both set.
    pub(super) fn new() -> Marks {
        Marks {
            written: AtomicBool::new(true),
            used: AtomicBool::new(true),
        }
    }

    pub(super) fn set_written(&self) {
        self.written.store(true, Ordering::Relaxed);
        self.used.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_written(&self) -> bool {
        self.written.load(Ordering::Acquire)
    }

    pub(super) fn is_used(&self) -> bool {
        self.used.load(Ordering::Acquire)
    }

    /// Takes the marks away: whether it was used, and written.
    pub(super) fn take(&self) -> (bool, bool) {
        let used = self.used.swap(false, Ordering::AcqRel);
        (used, self.written.swap(false, Ordering::AcqRel))
    }
}
