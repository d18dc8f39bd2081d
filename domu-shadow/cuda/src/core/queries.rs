//! What the driver said of memory before it went away first: it says the same to the program afterwards.

use crate::abi::*;
use crate::driver::vm::{Answer, Value, Vm};

/// Attributes 1 to 22 of a pointer that begins an allocation; the last is the highest that a driver knows by now.
const ATTRIBUTES: usize = 23;

/// Of ordinary memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    answers: [Answer<Value>; ATTRIBUTES],
}

impl Record {
    /// Of plain memory that begins at `at`.
    pub fn of(at: CUdeviceptr, driver: &impl Vm) -> Record {
        let answer = |attribute| {
            if is_recorded(attribute) {
                driver.attribute(attribute, at)
            } else {
                Err(CUDA_ERROR_INVALID_VALUE)
            }
        };
        Record {
            answers: std::array::from_fn(|attribute| answer(attribute as u32)),
        }
    }

    /// What the plain driver answers; `None` for what it is asked each time.
    pub fn answer(&self, attribute: u32) -> Option<Answer<Value>> {
        let mut answer = *self.answers.get(attribute as usize)?;
        // Mapped memory can be shared in other ways only: `cuIpcGetMemHandle` would fail.
        if let (CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, Ok(value)) =
            (attribute, &mut answer)
        {
            value.bytes = [0; 8];
        }
        is_recorded(attribute).then_some(answer)
    }

    pub fn is_rdma_capable(&self) -> bool {
        let answer = self.answer(CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE);
        answer.is_some_and(|answer| answer.is_ok_and(|value| value.number() != 0))
    }
}

/// Whether memory has the same value at each of its addresses, whoever asks.
fn is_recorded(attribute: u32) -> bool {
    !matches!(
        attribute,
        0 | CU_POINTER_ATTRIBUTE_DEVICE_POINTER
            | CU_POINTER_ATTRIBUTE_HOST_POINTER
            | CU_POINTER_ATTRIBUTE_P2P_TOKENS
            | CU_POINTER_ATTRIBUTE_SYNC_MEMOPS
            | CU_POINTER_ATTRIBUTE_ACCESS_FLAGS
    )
}

/// Numbers that the driver never gives twice, of a mapping of the program's own.
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
