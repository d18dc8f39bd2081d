//! Memory of `cuMemAlloc`: from its first move on it is mapped memory at its own address.

use std::sync::Arc;

use super::step::{MemoryError, Step};
use crate::abi::CUdeviceptr;
use crate::core::context::Context;
use crate::core::ordinary::Backing;
use crate::core::queries::Record;
use crate::core::state::State;
use crate::driver::vm::{Answer, Properties, Vm, read_write};

/// Tries to reserve an address that has just become free.
pub(super) const RESERVATIONS: u32 = 3;
/// Tries to get it by allocating as much once more.
const ALLOCATIONS: u32 = 64;

pub(super) fn detach(
    state: &mut State,
    at: CUdeviceptr,
    driver: &impl Vm,
) -> Result<(), MemoryError> {
    let has_neighbour = state.allocations.has_neighbour(at);
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
    let step = Step {
        driver,
        at,
        bytes: asked,
    };
    step.in_context(&context, || {
        if ordinary.backing == Backing::Plain {
            ordinary
                .record
                .get_or_insert_with(|| Box::new(Record::of(at, driver)));
            if has_neighbour || sees_neighbour(&step, span) {
                ordinary.backing = Backing::Kept;
                return Ok(());
            }
            step.call("cuMemFree", |driver| driver.free(at))?;
            ordinary.backing = Backing::Lost;
            ordinary.backing = regain(&step, span)?;
        }
        if let Backing::Bare(handle) | Backing::Mapped(handle) = ordinary.backing {
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

/// Whether the driver has given away the rest of the last granule, too.
fn sees_neighbour(step: &Step<'_, impl Vm>, span: usize) -> bool {
    let behind = (step.bytes as u64)
        .next_multiple_of(512)
        .min(span as u64 - 1);
    let is_others = |offset: u64| {
        let around = step.driver.around(step.at + offset);
        around.is_ok_and(|(base, _)| base != step.at)
    };
    is_others(behind) || is_others(span as u64 - 1)
}

/// Gets the address of memory back that was freed: by itself, or else with memory of the driver's. What comes instead is held until the
/// end: otherwise the same would come again.
fn regain(step: &Step<'_, impl Vm>, span: usize) -> Result<Backing, MemoryError> {
    let (driver, at) = (step.driver, step.at);
    let reserve = || driver.reserve(span, at);
    if is_given(at, RESERVATIONS, reserve, |other| {
        driver.unreserve(other, span)
    }) {
        return Ok(Backing::Reserved);
    }
    let allocate = || driver.alloc(step.bytes);
    if is_given(at, ALLOCATIONS, allocate, |other| driver.free(other)) {
        log::warn!(
            "{} bytes at {at:#x} stay the driver's: it does not let their address be reserved",
            step.bytes
        );
        return Ok(Backing::Kept);
    }
    Err(MemoryError::AddressLost {
        at,
        bytes: step.bytes,
    })
}

/// Whether one of so many tries gives `at`. What they give besides is given back.
fn is_given(
    at: CUdeviceptr,
    tries: u32,
    mut take: impl FnMut() -> Answer<CUdeviceptr>,
    give_back: impl Fn(CUdeviceptr) -> Answer<()>,
) -> bool {
    let mut others = Vec::new();
    let mut is_given = false;
    for _ in 0..tries {
        match take() {
            Ok(got) if got == at => {
                is_given = true;
                break;
            }
            Ok(other) => others.push(other),
            Err(code) => {
                log::debug!("address {at:#x}: CUDA error {code}");
                break;
            }
        }
    }
    for other in others {
        if let Err(code) = give_back(other) {
            log::warn!("memory of ours at {other:#x} is not free: CUDA error {code}");
        }
    }
    is_given
}

pub(super) fn attach(
    state: &mut State,
    at: CUdeviceptr,
    driver: &impl Vm,
) -> Result<(), MemoryError> {
    let State {
        contexts,
        allocations,
        ..
    } = state;
    let Some(allocation) = allocations.get_mut(at) else {
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
    if !ordinary.is_converted() || matches!(ordinary.backing, Backing::Mapped(_)) {
        return Ok(());
    }
    let step = Step {
        driver,
        at,
        bytes: asked,
    };
    step.in_context(&context, || {
        if ordinary.backing == Backing::Lost {
            ordinary.backing = regain(&step, span)?;
        }
        if ordinary.backing == Backing::Reserved {
            let is_rdma = ordinary
                .record
                .as_deref()
                .is_some_and(Record::is_rdma_capable);
            let handle = step.call("cuMemCreate", |driver| {
                create(driver, span, &context, is_rdma)
            })?;
            ordinary.backing = Backing::Created(handle);
        }
        if let Backing::Created(handle) = ordinary.backing {
            step.call("cuMemMap", |driver| driver.map(at, span, 0, handle, 0))?;
            ordinary.backing = Backing::Bare(handle);
        }
        if let Backing::Bare(handle) = ordinary.backing {
            // The own device comes first: others may be out of its reach.
            for device in contexts.devices_reaching(&context) {
                let access = [read_write(device)];
                step.call("cuMemSetAccess", |driver| {
                    driver.set_access(at, span, &access)
                })?;
            }
            ordinary.backing = Backing::Mapped(handle);
        }
        if ordinary.sync_memops {
            step.call("cuPointerSetAttribute", |driver| {
                driver.set_sync_memops(at, true)
            })?;
        }
        Ok(())
    })
}

/// Memory that other devices of the machine can reach where ordinary memory can be.
fn create(driver: &impl Vm, span: usize, context: &Context, is_rdma: bool) -> Answer<u64> {
    let plain = Properties::of_device(context.device());
    let capable = Properties {
        rdma_capable: u8::from(is_rdma),
        ..plain
    };
    let created = driver.create(span, &capable, 0);
    if is_rdma && created.is_err() {
        return driver.create(span, &plain, 0);
    }
    created
}
