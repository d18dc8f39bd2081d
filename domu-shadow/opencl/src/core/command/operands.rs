//! The objects that commands work on, kept where a command may have to be enqueued once more.

use std::ffi::c_void;
use std::sync::Arc;

use crate::CLResult;
use crate::core::handle;
use crate::core::mem::Mem;
use runtime::residency::ensure_resident;

/// The objects a command works on.
pub trait Operands {
    /// Their driver's handles.
    type Reals;
    type Kept: Kept<Reals = Self::Reals>;
    fn reals(&self) -> Self::Reals;
    fn keep(&self) -> Self::Kept;
}

/// Operands kept alive, as they are now, for enqueueing once more.
pub trait Kept: Send + 'static {
    type Reals;
    /// Calls `enqueue` with the driver's handles of now.
    ///
    /// # Errors
    /// Those of `enqueue`, and the driver's.
    fn with(&self, enqueue: &dyn Fn(&Self::Reals) -> CLResult<()>) -> CLResult<()>;
    /// The command may be about to write them.
    fn mark_written(&self);
    /// Waits until their contents are there.
    fn ensure_resident(&self);
}

impl Operands for () {
    type Reals = ();
    type Kept = ();
    fn reals(&self) {}
    fn keep(&self) {}
}

impl Kept for () {
    type Reals = ();
    fn with(&self, enqueue: &dyn Fn(&()) -> CLResult<()>) -> CLResult<()> {
        enqueue(&())
    }
    fn mark_written(&self) {}
    fn ensure_resident(&self) {}
}

impl<const N: usize> Operands for [&Mem; N] {
    type Reals = [*mut c_void; N];
    type Kept = [Arc<Mem>; N];
    #[inline]
    fn reals(&self) -> Self::Reals {
        self.map(|mem| mem.real.get())
    }
    fn keep(&self) -> Self::Kept {
        self.map(handle::shared)
    }
}

impl<const N: usize> Kept for [Arc<Mem>; N] {
    type Reals = [*mut c_void; N];
    fn with(&self, enqueue: &dyn Fn(&Self::Reals) -> CLResult<()>) -> CLResult<()> {
        enqueue(&std::array::from_fn(|at| self[at].real.get()))
    }
    fn mark_written(&self) {
        self.iter().for_each(|mem| mem.mark_written());
    }
    fn ensure_resident(&self) {
        ensure_resident(self.iter().map(|mem| &**mem));
    }
}

impl Operands for Vec<Arc<Mem>> {
    type Reals = Vec<*mut c_void>;
    type Kept = Vec<Arc<Mem>>;
    fn reals(&self) -> Self::Reals {
        self.iter().map(|mem| mem.real.get()).collect()
    }
    fn keep(&self) -> Self::Kept {
        self.clone()
    }
}

impl Kept for Vec<Arc<Mem>> {
    type Reals = Vec<*mut c_void>;
    fn with(&self, enqueue: &dyn Fn(&Self::Reals) -> CLResult<()>) -> CLResult<()> {
        enqueue(&self.iter().map(|mem| mem.real.get()).collect())
    }
    fn mark_written(&self) {
        self.iter().for_each(|mem| mem.mark_written());
    }
    fn ensure_resident(&self) {
        ensure_resident(self.iter().map(|mem| &**mem));
    }
}
