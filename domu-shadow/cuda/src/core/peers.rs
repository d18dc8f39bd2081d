//! Devices that reach memory of another one, that is mapped memory of ours.

use std::sync::Arc;

use super::context::Context;
use super::ordinary::Backing;
use super::state::State;
use crate::abi::{CU_MEM_ACCESS_FLAGS_PROT_NONE, CUcontext, CUdevice, CUmemAccessDesc};
use crate::driver::vm::{Vm, read_write};

/// Gives all devices that reach the memory of `owner` access to what of it is mapped memory of ours.
pub fn share(state: &mut State, owner: CUcontext, driver: &impl Vm) {
    let Some(owner) = state.contexts.get(owner).cloned() else {
        return;
    };
    let devices = state.contexts.devices_reaching(&owner);
    let access: Vec<_> = devices.into_iter().map(read_write).collect();
    set_access(state, &owner, &access, driver);
}

/// Takes the access of a device away that reaches the memory of `owner` no more.
pub fn unshare(state: &mut State, owner: CUcontext, device: CUdevice, driver: &impl Vm) {
    let Some(owner) = state.contexts.get(owner).cloned() else {
        return;
    };
    if !state.contexts.devices_reaching(&owner).contains(&device) {
        let access = CUmemAccessDesc {
            flags: CU_MEM_ACCESS_FLAGS_PROT_NONE,
            ..read_write(device)
        };
        set_access(state, &owner, &[access], driver);
    }
}

fn set_access(state: &State, owner: &Arc<Context>, access: &[CUmemAccessDesc], driver: &impl Vm) {
    for at in state.allocations.of_context(owner) {
        let Some((_, allocation, ordinary)) = state.allocations.ordinary_around(at) else {
            continue;
        };
        if matches!(ordinary.backing, Backing::Mapped(_))
            && let Err(code) = driver.set_access(at, allocation.span(), access)
        {
            log::warn!("cuMemSetAccess at {at:#x} failed with CUDA error {code}");
        }
    }
}
