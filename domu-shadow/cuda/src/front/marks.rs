//! Functions of the list whose use keeps the process where it is.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::driver::table::LIST;

/// By place: whether the program has called it. Written by the functions themselves.
pub(super) static USED: [AtomicU8; LIST.len()] = [const { AtomicU8::new(0) }; LIST.len()];

/// Why the process cannot be moved, once one of them has been called.
pub fn used() -> Option<String> {
    let at = USED
        .iter()
        .position(|used| used.load(Ordering::Relaxed) != 0)?;
    let (name, why) = (LIST[at].name.to_string_lossy(), LIST[at].why);
    Some(format!(
        "the program uses {why}, which cannot be moved (it has called {name})"
    ))
}
