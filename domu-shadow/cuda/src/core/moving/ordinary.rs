//! Memory of `cuMemAlloc`, which is mapped memory at an address of its own.

use std::sync::Arc;

use super::step::{MemoryError, Step};
use crate::abi::{CUdevice, CUdeviceptr};
use crate::core::context::Context;
use crate::core::ending::take_apart;
use crate::core::ordinary::{Allocation, Backing, span};
use crate::core::queries::Identity;
use crate::core::state::State;
use crate::driver::vm::{Properties, Vm, read_write};

/// Makes an allocation, for the context that is current. `others` are devices that are to reach it, too: between devices the driver copies
/// its own memory whether or not the program has enabled access, and mapped memory only with it.
///
/// # Errors
/// Where a step fails; nothing is left of it then.
pub fn make(
    asked: usize,
    context: Arc<Context>,
    properties: &Properties,
    others: &[CUdevice],
    driver: &impl Vm,
) -> Result<(CUdeviceptr, Allocation), MemoryError> {
    let (step, allocation) = reserve(asked, context, driver)?;
    filled(allocation, properties, others, &step)
}

/// The same of `memory` that there is already. Takes the handle, also where it fails.
///
/// # Errors
/// As [`make`].
pub fn adopt(
    asked: usize,
    context: Arc<Context>,
    memory: u64,
    driver: &impl Vm,
) -> Result<(CUdeviceptr, Allocation), MemoryError> {
    let device = context.device();
    let reserved = reserve(asked, context, driver);
    let (step, mut allocation) = reserved.inspect_err(|_| {
        let _ = driver.release(memory);
    })?;
    if let Some(ordinary) = allocation.ordinary_mut() {
        ordinary.backing = Backing::Created(memory);
    }
    let unused = Properties::of_device(device);
    let others = driver.others_reaching(device).unwrap_or_default();
    filled(allocation, &unused, &others, &step)
}

fn filled(
    mut allocation: Allocation,
    properties: &Properties,
    others: &[CUdevice],
    step: &Step<'_, impl Vm>,
) -> Result<(CUdeviceptr, Allocation), MemoryError> {
    match fill(&mut allocation, properties, others, step) {
        Ok(()) => Ok((step.at, allocation)),
        Err(error) => {
            take_apart(step.at, &allocation, step.driver);
            Err(error)
        }
    }
}

fn reserve<D: Vm>(
    asked: usize,
    context: Arc<Context>,
    driver: &D,
) -> Result<(Step<'_, D>, Allocation), MemoryError> {
    let mut step = Step {
        driver,
        at: 0,
        bytes: asked,
    };
    step.at = step.call("cuMemAddressReserve", |driver| {
        driver.reserve(span(asked), 0)
    })?;
    let allocation = Allocation::reserved(step.at, asked, context);
    Ok((step, allocation))
}

/// Gives it memory, from wherever it is.
fn fill(
    allocation: &mut Allocation,
    properties: &Properties,
    others: &[CUdevice],
    step: &Step<'_, impl Vm>,
) -> Result<(), MemoryError> {
    let (at, span, device) = (step.at, allocation.span(), allocation.context.device());
    let Some(ordinary) = allocation.ordinary_mut() else {
        return Ok(());
    };
    if ordinary.backing == Backing::Reserved {
        let handle = step.call("cuMemCreate", |driver| driver.create(span, properties, 0))?;
        ordinary.backing = Backing::Created(handle);
    }
    if let Backing::Created(handle) = ordinary.backing {
        step.call("cuMemMap", |driver| driver.map(at, span, 0, handle, 0))?;
        ordinary.backing = Backing::Bare(handle);
    }
    if let Backing::Bare(handle) = ordinary.backing {
        let own = [read_write(device)];
        step.call("cuMemSetAccess", |driver| driver.set_access(at, span, &own))?;
        for &other in others {
            let set = step.driver.set_access(at, span, &[read_write(other)]);
            if let Err(code) = set {
                log::info!(
                    "device {other} does not reach memory of device {device}: CUDA error {code}"
                );
            }
        }
        ordinary.backing = Backing::Mapped(handle);
    }
    if ordinary.sync_memops {
        step.call("cuPointerSetAttribute", |driver| {
            driver.set_sync_memops(at, true)
        })?;
    }
    Ok(())
}

pub(super) fn detach(
    state: &mut State,
    at: CUdeviceptr,
    driver: &impl Vm,
) -> Result<(), MemoryError> {
    let Some(allocation) = state.allocations.get_mut(at) else {
        return Ok(());
    };
    let (context, span, asked) = (
        Arc::clone(&allocation.context),
        allocation.span(),
        allocation.asked,
    );
    let Some(ordinary) = allocation.ordinary_mut() else {
        return Ok(());
    };
    if ordinary.is_shared {
        return Ok(());
    }
    let step = Step {
        driver,
        at,
        bytes: asked,
    };
    step.in_context(&context, || {
        if let Backing::Bare(handle) | Backing::Mapped(handle) = ordinary.backing {
            ordinary
                .identity
                .get_or_insert_with(|| Identity::of(at, driver));
            step.call("cuMemUnmap", |driver| driver.unmap(at, span))?;
            ordinary.backing = Backing::Created(handle);
        }
        if let Backing::Created(handle) = ordinary.backing {
            step.call("cuMemRelease", |driver| driver.release(handle))?;
            ordinary.backing = Backing::Reserved;
        }
        Ok(())
    })
}

pub(super) fn attach(
    state: &mut State,
    at: CUdeviceptr,
    driver: &impl Vm,
) -> Result<(), MemoryError> {
    let Some(allocation) = state.allocations.get_mut(at) else {
        return Ok(());
    };
    let ordinary = allocation.ordinary();
    if ordinary.is_none_or(|it| matches!(it.backing, Backing::Mapped(_))) {
        return Ok(());
    }
    let context = Arc::clone(&allocation.context);
    let device = context.device();
    let others = driver.others_reaching(device).unwrap_or_default();
    let properties = driver.like_ordinary(device);
    let step = Step {
        driver,
        at,
        bytes: allocation.asked,
    };
    step.in_context(&context, || fill(allocation, &properties, &others, &step))
}
