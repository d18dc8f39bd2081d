//! Opens memory that another process gave, and closes it. While it is open this process does not move.

use std::ffi::c_uint;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::exporter;
use super::handle::Handle;
use super::socket::ask;
use crate::abi::*;
use crate::core::context::Context;
use crate::core::current;
use crate::core::ending::take_apart;
use crate::core::moving::{MemoryError, adopt};
use crate::core::obstacles::IPC_MEMORY;
use crate::core::ordinary::Opened;
use crate::core::state::{State, state};
use crate::driver::vm::{Answer, Real};

/// One more time: the driver counts, too.
fn open_again(
    state: &mut State,
    context: &Arc<Context>,
    handle: CUipcMemHandle,
) -> Option<CUdeviceptr> {
    let of_context = state.allocations.of_context(context);
    let mut of_context = of_context.into_iter();
    of_context.find(|at| {
        let allocation = state.allocations.get_mut(*at);
        let opened = allocation.and_then(|allocation| allocation.opened_mut());
        let opened = opened.filter(|opened| opened.handle == handle);
        opened.map(|opened| opened.times += 1).is_some()
    })
}

/// Maps the memory of a handle of ours in this thread's context.
///
/// # Errors
/// As the driver's function: `CUDA_ERROR_INVALID_CONTEXT` without a context and for memory of this process, `CUDA_ERROR_INVALID_HANDLE`
/// where the other process does not give the memory, the driver's.
pub fn open(handle: &Handle, flags: c_uint) -> Answer<CUdeviceptr> {
    let current = current::handle();
    let bytes = CUipcMemHandle::from(*handle);
    let mut locked = state();
    let context = current::context(&mut locked, current)?;
    if flags != CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    if exporter::is_ours(handle) {
        return Err(CUDA_ERROR_INVALID_CONTEXT);
    }
    if let Some(at) = open_again(&mut locked, &context, bytes) {
        return Ok(at);
    }
    drop(locked);
    let hold = IPC_MEMORY.hold();
    let process = handle.exporter.process;
    let descriptor = ask(&handle.exporter.socket(), &bytes.0).map_err(|error| {
        log::warn!("memory of process {process} cannot be opened: {error}");
        CUDA_ERROR_INVALID_HANDLE
    })?;
    let memory = Real.import(descriptor.as_fd())?;
    drop(descriptor);
    let asked = handle.asked as usize;
    let adopted = adopt(asked, Arc::clone(&context), memory, &Real);
    let (at, allocation) = adopted.map_err(|error| {
        log::warn!("memory of process {process} cannot be mapped: {error}");
        match error {
            MemoryError::Driver { code, .. } => code,
            MemoryError::InUse => CUDA_ERROR_UNKNOWN,
        }
    })?;
    let mut locked = state();
    // Another thread may have been faster.
    if let Some(first) = open_again(&mut locked, &context, bytes) {
        drop(locked);
        take_apart(at, &allocation, &Real);
        return Ok(first);
    }
    let opened = Opened {
        handle: bytes,
        times: 1,
        _hold: hold,
    };
    locked.allocations.insert(at, allocation.open(opened));
    Ok(at)
}

/// Closes it once; the last time it is no more. `None`: it is not ours.
pub fn close(at: CUdeviceptr) -> Option<Answer<()>> {
    let context = Arc::clone(&state().allocations.opened(at)?.context);
    if let Err(code) = current::synchronize(&context) {
        return Some(Err(code));
    }
    let mut state = state();
    let opened = state.allocations.get_mut(at)?.opened_mut()?;
    opened.times -= 1;
    if opened.times == 0
        && let Some(allocation) = state.allocations.remove(at)
    {
        drop(state);
        take_apart(at, &allocation, &Real);
    }
    Some(Ok(()))
}
