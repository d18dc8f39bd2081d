//! One step, and how it fails.

use crate::abi::{CUdeviceptr, CUresult};
use crate::core::context::Context;
use crate::driver::vm::{Answer, Vm};

/// Why memory did not go or come. What else there is went or came all the same.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MemoryError {
    #[error("memory of the program's is in use by a transfer")]
    InUse,
    #[error("{what} for {bytes} bytes of device memory at {at:#x} failed with CUDA error {code}")]
    Driver {
        what: &'static str,
        at: CUdeviceptr,
        bytes: usize,
        code: CUresult,
    },
}

/// One step's, for messages.
pub(super) struct Step<'a, D: Vm> {
    pub driver: &'a D,
    pub at: CUdeviceptr,
    pub bytes: usize,
}

impl<D: Vm> Step<'_, D> {
    pub fn call<T>(
        &self,
        what: &'static str,
        call: impl FnOnce(&D) -> Answer<T>,
    ) -> Result<T, MemoryError> {
        call(self.driver).map_err(|code| MemoryError::Driver {
            what,
            at: self.at,
            bytes: self.bytes,
            code,
        })
    }

    pub fn in_context<T>(
        &self,
        context: &Context,
        act: impl FnOnce() -> Result<T, MemoryError>,
    ) -> Result<T, MemoryError> {
        self.call("cuCtxPushCurrent", |driver| driver.enter(context.address()))?;
        let done = act();
        self.driver.leave();
        done
    }
}
