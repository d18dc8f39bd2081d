//! What the program is told of pointers, where the driver would say something else than of memory of its own, or than before a move.

use super::state::State;
use crate::abi::*;
use crate::driver::vm::{Answer, Value};

/// `None` where the driver is to be asked.
pub fn answer(state: &State, attribute: u32, at: CUdeviceptr) -> Option<Answer<Value>> {
    if let Some((_, allocation, ordinary)) = state.allocations.ordinary_around(at) {
        return match attribute {
            CU_POINTER_ATTRIBUTE_CONTEXT => {
                Some(Ok(Value::long(allocation.context.address() as u64)))
            }
            CU_POINTER_ATTRIBUTE_RANGE_SIZE => Some(Ok(Value::long(allocation.asked as u64))),
            CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES => Some(Ok(Value::long(0))),
            CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE => {
                Some(Ok(Value::int(allocation.opened().is_none().into())))
            }
            _ => ordinary.identity?.answer(attribute),
        };
    }
    let (_, mapping) = state.virtual_memory.around(at)?;
    mapping.identity?.answer(attribute)
}
