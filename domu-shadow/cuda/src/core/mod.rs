//! The program's contexts and memory, and what keeps it from moving.
//!
//! | room | purpose |
//! |---|---|
//! | [`context`] | contexts, and whose memory they reach |
//! | [`block`] | memory whose contents move |
//! | [`queries`] | what the driver said of memory before its first move |
//! | [`ordinary`] | memory of `cuMemAlloc` |
//! | [`mapping`] | one mapping, and who has access to it |
//! | [`vmm`] | memory of `cuMemCreate`, and all its mappings |
//! | [`counted`] | what the driver carries, and what keeps the process from moving |
//! | [`state`] | the lock over all of it |
//! | [`current`] | the context that a call is made in |
//! | [`ending`] | what ends with an allocation, and with a context |
//! | [`pins`] | uses of ours that the program waits for |
//! | [`pools`] | stream-ordered pools give back what they do not need |
//! | [`answers`] | what the program is told of memory that has been away |
//! | [`moving`] | memory goes, and comes back at its addresses |
//! | [`memory`] | all of it, as a move sees it |
//! | [`ipc`] | memory of `cuMemAlloc` for other processes |
//! | [`contents`] | waiting for contents |
//! | [`capturing`] | streams that are being captured |
//! | [`entry`] | what every call passes: the gate, the driver's library, contents that are still on their way |
//! | [`obstacles`] | what keeps the process from moving |
//! | [`tools`] | debuggers and profilers |
//! | [`retired`] | what the program has freed, and may still have been using then |
//! | [`room`] | device memory of ours that the program gets when it finds no other |

pub mod answers;
pub mod block;
pub mod capturing;
pub mod contents;
pub mod context;
pub mod counted;
pub mod current;
pub mod ending;
pub mod entry;
#[cfg(test)]
mod fake;
pub mod ipc;
pub mod mapping;
pub mod memory;
pub mod moving;
pub mod obstacles;
pub mod ordinary;
pub mod pins;
pub mod pools;
pub mod queries;
pub mod retired;
pub mod room;
pub mod state;
pub mod tools;
pub mod vmm;

use runtime::locks::Held;

/// The locks that calls may take, for a fork; `None` while another thread has one. The lock is held during driver calls, too, so
/// that a thread in a call may have it.
pub fn hold_locks(in_call: bool) -> Option<Held> {
    let mut held = Held::new();
    if !in_call {
        held.push(Box::new(state::hold()?));
        held.push(Box::new(capturing::hold()?));
        held.push(Box::new(room::hold()?));
        held.push(Box::new(ipc::exporter::hold()?));
    }
    Some(held)
}
