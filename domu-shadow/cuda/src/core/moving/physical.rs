//! Memory of `cuMemCreate`, with all its mappings.

use super::step::{MemoryError, Step};
use crate::core::mapping::Mapping;
use crate::core::pins::reachable_in;
use crate::core::queries::Identity;
use crate::core::state::State;
use crate::driver::vm::Vm;

pub(super) fn detach(state: &mut State, token: u64, driver: &impl Vm) -> Result<(), MemoryError> {
    let Some(physical) = state.virtual_memory.get(token) else {
        return Ok(());
    };
    // Out of reach: its contents were not taken.
    let block = physical.block.as_ref();
    let Some(context) = block.and_then(|block| reachable_in(block, state)) else {
        return Ok(());
    };
    let mut step = Step {
        driver,
        at: physical.window.unwrap_or(0),
        bytes: physical.size,
    };
    step.in_context(&context, || {
        step.call("cuMemUnmap", |driver| {
            state.virtual_memory.drop_window(token, driver)
        })
    })?;
    for at in state.virtual_memory.mappings_of(token) {
        let Some(mapping) = state.virtual_memory.mapping_mut(at) else {
            continue;
        };
        if !mapping.is_mapped {
            continue;
        }
        (step.at, step.bytes) = (at, mapping.size);
        step.in_context(&context, || {
            mapping
                .identity
                .get_or_insert_with(|| Identity::of(at, driver));
            step.call("cuMemUnmap", |driver| driver.unmap(at, mapping.size))
        })?;
        (mapping.is_mapped, mapping.has_access) = (false, false);
    }
    let Some(physical) = state.virtual_memory.get_mut(token) else {
        return Ok(());
    };
    if let Some(handle) = physical.handle {
        step.bytes = physical.size;
        step.in_context(&context, || {
            step.call("cuMemRelease", |driver| driver.release(handle))
        })?;
        physical.handle = None;
    }
    Ok(())
}

pub(super) fn attach(state: &mut State, token: u64, driver: &impl Vm) -> Result<(), MemoryError> {
    let Some(physical) = state.virtual_memory.get(token) else {
        return Ok(());
    };
    let block = physical.block.as_ref();
    let Some(context) = block.and_then(|block| reachable_in(block, state)) else {
        return Ok(());
    };
    let Some(physical) = state.virtual_memory.get_mut(token) else {
        return Ok(());
    };
    let mut step = Step {
        driver,
        at: 0,
        bytes: physical.size,
    };
    let handle = match physical.handle {
        Some(handle) => handle,
        None => step.in_context(&context, || {
            step.call("cuMemCreate", |driver| {
                driver.create(physical.size, &physical.properties, physical.flags)
            })
        })?,
    };
    physical.handle = Some(handle);
    for at in state.virtual_memory.mappings_of(token) {
        let Some(mapping) = state.virtual_memory.mapping_mut(at) else {
            continue;
        };
        if mapping.has_access {
            continue;
        }
        (step.at, step.bytes) = (at, mapping.size);
        step.in_context(&context, || {
            if !mapping.is_mapped {
                step.call("cuMemMap", |driver| {
                    driver.map(at, mapping.size, mapping.offset, handle, mapping.flags)
                })?;
                mapping.is_mapped = true;
            }
            give_access(&step, mapping)
        })?;
        mapping.has_access = true;
    }
    // Contents come by a mapping of ours where the program has none that will do: it has to be there before they are.
    if state.virtual_memory.seen_whole(token).is_none() {
        step.in_context(&context, || {
            step.call("cuMemMap", |driver| {
                state.virtual_memory.open_window(token, driver).map(drop)
            })
        })?;
    }
    Ok(())
}

fn give_access(step: &Step<'_, impl Vm>, mapping: &Mapping) -> Result<(), MemoryError> {
    for part in &mapping.parts {
        if !part.access.is_empty() {
            step.call("cuMemSetAccess", |driver| {
                driver.set_access(step.at + part.offset as u64, part.size, &part.access)
            })?;
        }
    }
    if mapping.sync_memops {
        step.call("cuPointerSetAttribute", |driver| {
            driver.set_sync_memops(step.at, true)
        })?;
    }
    Ok(())
}
