//! What the driver said of memory before it went away first: it says the same to the program afterwards.

use crate::abi::*;
use crate::driver::vm::{Answer, Value, Vm};

/// Numbers that the driver never gives twice, of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    buffer: Answer<Value>,
    memory_block: Answer<Value>,
}

impl Identity {
    pub fn of(at: CUdeviceptr, driver: &impl Vm) -> Identity {
        Identity {
            buffer: driver.attribute(CU_POINTER_ATTRIBUTE_BUFFER_ID, at),
            memory_block: driver.attribute(CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID, at),
        }
    }

    /// What the driver answered before the first move; `None` for what it is asked each time.
    pub fn answer(&self, attribute: u32) -> Option<Answer<Value>> {
        match attribute {
            CU_POINTER_ATTRIBUTE_BUFFER_ID => Some(self.buffer),
            CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID => Some(self.memory_block),
            _ => None,
        }
    }
}
