//! What the driver said of memory before it went away first: it says the same to the program afterwards.

use crate::abi::*;
use crate::driver::vm::Vm;

/// Attributes 1 to 22 of a pointer that begins an allocation; the last is the highest that a driver knows by now.
const ATTRIBUTES: usize = 23;

/// Of ordinary memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    values: [u64; ATTRIBUTES],
}

impl Record {
    /// Of plain memory that begins at `at`.
    pub fn of(at: CUdeviceptr, driver: &impl Vm) -> Record {
        let mut values = [0; ATTRIBUTES];
        for attribute in CU_POINTER_ATTRIBUTE_CONTEXT..ATTRIBUTES as u32 {
            if is_recorded(attribute) {
                values[attribute as usize] = driver.attribute(attribute, at);
            }
        }
        Record { values }
    }

    /// What the plain driver says; `None` for what it is asked for each time.
    pub fn value(&self, attribute: u32) -> Option<u64> {
        let value = self.values.get(attribute as usize)?;
        is_recorded(attribute).then_some(*value)
    }

    pub fn is_rdma_capable(&self) -> bool {
        self.value(CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE) == Some(1)
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
    pub buffer: u64,
    pub memory_block: u64,
}

impl Identity {
    pub fn of(at: CUdeviceptr, driver: &impl Vm) -> Identity {
        Identity {
            buffer: driver.attribute(CU_POINTER_ATTRIBUTE_BUFFER_ID, at),
            memory_block: driver.attribute(CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID, at),
        }
    }
}
