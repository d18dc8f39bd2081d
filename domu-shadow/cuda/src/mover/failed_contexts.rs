//! Contexts in which a kernel of the program's has failed: every call answers with that error from then on, so that nobody can read
//! their memory any more, a move neither.

use std::sync::{Arc, Mutex, Weak};

use runtime::locks::{self, lock};

use crate::abi::CUresult;
use crate::beside::home::is_sticky;
use crate::core::context::Context;

static FAILED: Mutex<Vec<(Weak<Context>, CUresult)>> = Mutex::new(Vec::new());

/// A call in the context has failed. Whether that is for good.
pub(super) fn note(context: &Arc<Context>, code: CUresult) -> bool {
    let is_sticky = is_sticky(code);
    let mut failed = lock(&FAILED);
    if is_sticky
        && !failed
            .iter()
            .any(|(known, _)| known.as_ptr() == Arc::as_ptr(context))
    {
        failed.push((Arc::downgrade(context), code));
    }
    is_sticky
}

/// Why the process cannot be moved, until the program destroys the context.
pub(super) fn blocked() -> Option<String> {
    let mut failed = lock(&FAILED);
    failed.retain(|(context, _)| context.strong_count() > 0);
    failed.first().map(|(_, code)| {
        format!("a CUDA context has failed (error {code}): its memory cannot be read any more")
    })
}

/// The lock, for a fork.
pub(super) fn hold() -> Option<impl Sized> {
    locks::try_lock(&FAILED)
}
