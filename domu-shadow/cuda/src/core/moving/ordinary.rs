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
pub(super) const TRIES: u32 = 3;

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
            if has_neighbour(&step, span) {
                ordinary.backing = Backing::Kept;
                return Ok(());
            }
            step.call("cuMemFree", |driver| driver.free(at))?;
            ordinary.backing = Backing::Lost;
            ordinary.backing = regain(&step, span)?;
        }
        if let Backing::Mapped(handle) = ordinary.backing {
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

/// Whether somebody else's memory lies in the last granule, which the driver otherwise gives to one allocation alone.
fn has_neighbour(step: &Step<'_, impl Vm>, span: usize) -> bool {
    let last = step.at + span as u64 - 1;
    let around = step.driver.around(last);
    around.is_ok_and(|(base, _)| base != step.at)
}

/// Gets the address of memory back that was freed: by itself, or else with memory of the driver's.
fn regain(step: &Step<'_, impl Vm>, span: usize) -> Result<Backing, MemoryError> {
    let (driver, at) = (step.driver, step.at);
    for _ in 0..TRIES {
        match driver.reserve(span, at) {
            Ok(got) if got == at => return Ok(Backing::Reserved),
            Ok(other) => {
                let _ = driver.unreserve(other, span);
            }
            Err(code) => log::debug!("cuMemAddressReserve at {at:#x}: CUDA error {code}"),
        }
    }
    match driver.alloc(step.bytes) {
        Ok(got) if got == at => {
            log::warn!(
                "{} bytes at {at:#x} stay the driver's: it does not let their address be reserved",
                step.bytes
            );
            return Ok(Backing::Kept);
        }
        Ok(other) => {
            let _ = driver.free(other);
        }
        Err(code) => log::debug!("cuMemAlloc of {} bytes: CUDA error {code}", step.bytes),
    }
    Err(MemoryError::AddressLost {
        at,
        bytes: step.bytes,
    })
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
            ordinary.backing = Backing::Mapped(handle);
            let access = contexts.devices_reaching(&context);
            let access: Vec<_> = access.into_iter().map(read_write).collect();
            let set = step.call("cuMemSetAccess", |driver| {
                driver.set_access(at, span, &access)
            });
            if set.is_err() && driver.unmap(at, span).is_ok() {
                ordinary.backing = Backing::Created(handle);
            }
            set?;
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
