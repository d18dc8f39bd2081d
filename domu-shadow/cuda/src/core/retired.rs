//! What the program has freed, and may still have been using then.

use super::capturing;
use super::current;
use super::ending::take_apart;
use super::state::state;
use crate::driver::vm::{Real, Vm};

/// Takes apart what the program has freed, as far as it is used no more. Whether there was some.
pub fn free() -> bool {
    if capturing::open() > 0 {
        return false;
    }
    let retired = std::mem::take(&mut state().retired);
    let mut has_freed = false;
    for retired in retired {
        let context = &retired.allocation.context;
        let is_at_rest = context.is_gone()
            || match retired.event {
                Some(event) => Real.is_reached(event),
                None => current::synchronize(context).is_ok(),
            };
        if is_at_rest {
            take_apart(retired.at, &retired.allocation, &Real);
            has_freed = true;
        } else {
            state().retired.push(retired);
        }
    }
    has_freed
}
