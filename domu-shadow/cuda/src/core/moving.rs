//! Memory goes, and comes back at its addresses.
//!
//! Each step changes what is known of the memory as soon as the driver has made it, so that either way can go on from anywhere.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::context::Context;
use super::ending::take_apart_retired;
use super::ordinary::Backing;
use super::pins::reachable_in;
use super::queries::{Identity, Record};
use super::state::State;
use crate::abi::{
    CU_MEM_ACCESS_FLAGS_PROT_NONE, CUcontext, CUdevice, CUdeviceptr, CUmemAccessDesc, CUresult,
};
use crate::driver::vm::{Answer, Properties, Value, Vm, read_write};

/// Tries to reserve an address that has just become free.
const TRIES: u32 = 3;

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
    /// The program's pointers to it lead nowhere until the driver gives it back.
    #[error(
        "the driver does not give address {at:#x} back, where the program has {bytes} bytes of device memory"
    )]
    AddressLost { at: CUdeviceptr, bytes: usize },
}

/// Keeps the first error, says the others.
#[derive(Default)]
struct Errors(Option<MemoryError>);

impl Errors {
    fn note(&mut self, result: Result<(), MemoryError>) {
        if let Err(error) = result {
            log::error!("{error}");
            self.0.get_or_insert(error);
        }
    }

    fn first(self) -> Result<(), MemoryError> {
        self.0.map_or(Ok(()), Err)
    }
}

/// One step's, for messages.
struct Step<'a, D: Vm> {
    driver: &'a D,
    at: CUdeviceptr,
    bytes: usize,
}

impl<D: Vm> Step<'_, D> {
    fn call<T>(
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

    fn in_context<T>(
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

/// Memory has gone once: the driver may say something else of it than before.
static HAS_MOVED: AtomicBool = AtomicBool::new(false);

/// What the program is told of a pointer, where the driver would say something else than before the first move.
pub fn answer(state: &State, attribute: u32, at: CUdeviceptr) -> Option<Answer<Value>> {
    if let Some((_, _, ordinary)) = state.allocations.converted_around(at) {
        return ordinary.record.as_ref()?.answer(attribute);
    }
    let (_, mapping) = state.virtual_memory.around(at)?;
    mapping.identity?.answer(attribute)
}

/// Whether memory has gone once: before, the driver knows all.
pub fn has_moved() -> bool {
    HAS_MOVED.load(Ordering::Relaxed)
}

/// One of the two kinds of memory.
#[derive(Clone, Copy)]
enum Piece {
    Ordinary(CUdeviceptr),
    Physical(u64),
}

/// All that moves, the big ones first.
fn pieces(state: &State) -> Vec<Piece> {
    let ordinary = state.allocations.iter().filter_map(|(at, allocation)| {
        allocation.ordinary()?;
        Some((allocation.asked, Piece::Ordinary(at)))
    });
    let physicals = state.virtual_memory.physicals();
    let physicals = physicals
        .filter(|(_, physical)| physical.block.is_some())
        .map(|(token, physical)| (physical.size, Piece::Physical(token)));
    let mut pieces: Vec<_> = ordinary.chain(physicals).collect();
    pieces.sort_by_key(|(size, _)| Reverse(*size));
    pieces.into_iter().map(|(_, piece)| piece).collect()
}

fn is_pinned(state: &State) -> bool {
    let ordinary = state.allocations.iter();
    let mut ordinary = ordinary.filter_map(|(_, allocation)| allocation.ordinary());
    let mut physicals = state.virtual_memory.physicals();
    ordinary.any(|ordinary| ordinary.block.is_pinned())
        || physicals.any(|(_, physical)| physical.is_pinned())
}

/// Takes the memory away.
///
/// # Errors
/// The first one.
pub fn detach(state: &mut State, driver: &impl Vm) -> Result<(), MemoryError> {
    if is_pinned(state) {
        return Err(MemoryError::InUse);
    }
    HAS_MOVED.store(true, Ordering::Relaxed);
    take_apart_retired(state, driver);
    let mut errors = Errors::default();
    for piece in pieces(state) {
        errors.note(match piece {
            Piece::Ordinary(at) => detach_ordinary(state, at, driver),
            Piece::Physical(token) => detach_physical(state, token, driver),
        });
    }
    errors.first()
}

/// Brings it back.
///
/// # Errors
/// The first one.
pub fn attach(state: &mut State, driver: &impl Vm) -> Result<(), MemoryError> {
    let mut errors = Errors::default();
    for piece in pieces(state) {
        errors.note(match piece {
            Piece::Ordinary(at) => attach_ordinary(state, at, driver),
            Piece::Physical(token) => attach_physical(state, token, driver),
        });
    }
    errors.first()
}

fn detach_ordinary(
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

fn attach_ordinary(
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

fn detach_physical(state: &mut State, token: u64, driver: &impl Vm) -> Result<(), MemoryError> {
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
        mapping.is_mapped = false;
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

fn attach_physical(state: &mut State, token: u64, driver: &impl Vm) -> Result<(), MemoryError> {
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
        if mapping.is_mapped {
            continue;
        }
        (step.at, step.bytes) = (at, mapping.size);
        step.in_context(&context, || {
            step.call("cuMemMap", |driver| {
                driver.map(at, mapping.size, mapping.offset, handle, mapping.flags)
            })?;
            let set = give_access(&step, mapping);
            if set.is_err() {
                let _ = driver.unmap(at, mapping.size);
            }
            set
        })?;
        mapping.is_mapped = true;
    }
    Ok(())
}

fn give_access(step: &Step<'_, impl Vm>, mapping: &super::vmm::Mapping) -> Result<(), MemoryError> {
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

/// Gives all devices that reach the memory of `owner` access to what of it is mapped memory by now.
pub fn share(state: &mut State, owner: CUcontext, driver: &impl Vm) {
    let Some(owner) = state.contexts.get(owner).cloned() else {
        return;
    };
    let devices = state.contexts.devices_reaching(&owner);
    let access: Vec<_> = devices.into_iter().map(read_write).collect();
    set_converted(state, &owner, &access, driver);
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
        set_converted(state, &owner, &[access], driver);
    }
}

fn set_converted(
    state: &State,
    owner: &Arc<Context>,
    access: &[CUmemAccessDesc],
    driver: &impl Vm,
) {
    for at in state.allocations.of_context(owner) {
        let Some((_, allocation, ordinary)) = state.allocations.converted_around(at) else {
            continue;
        };
        if matches!(ordinary.backing, Backing::Mapped(_))
            && let Err(code) = driver.set_access(at, allocation.span(), access)
        {
            log::warn!("cuMemSetAccess at {at:#x} failed with CUDA error {code}");
        }
    }
}

#[cfg(test)]
mod tests;
