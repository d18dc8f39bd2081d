//! Why the process cannot be moved.

use crate::vendor::foreign;
use crate::{blocked, gpu_api};

/// Why the process cannot be moved, if so.
pub fn blocked() -> Option<String> {
    blocked::reason()
        .or_else(|| gpu_api::all().find_map(|api| api.blocked()))
        .or_else(foreign::reason)
}
