//! Reserved ranges of addresses, and mappings in them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::addresses::{self, GRANULE};
use super::physical;
use super::space::{self, Kind, Mapping, NO_ACCESS, READ, READ_WRITE};
use crate::abi::*;
use crate::device;
use crate::lock::lock;
use crate::options::MOST_DEVICES;

const PAGE: u64 = 4096;

/// Start and size of what is reserved. Its lock orders all changes of mappings.
static RESERVED: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());

/// # Errors
/// `CUDA_ERROR_INVALID_VALUE`, `CUDA_ERROR_OUT_OF_MEMORY` where no range is free.
pub fn reserve(size: u64, alignment: u64, wanted: u64, flags: u64) -> Outcome<u64> {
    let is_aligned = alignment == 0 || alignment.is_power_of_two();
    if size == 0
        || !size.is_multiple_of(PAGE)
        || !is_aligned
        || flags != 0
        || !wanted.is_multiple_of(PAGE)
    {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let start = addresses::take(size, alignment, wanted).ok_or(CUDA_ERROR_OUT_OF_MEMORY)?;
    lock(&RESERVED).insert(start, size);
    Ok(start)
}

/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for what was not reserved so, or has mappings.
pub fn free(start: u64, size: u64) -> Outcome<()> {
    let mut reserved = lock(&RESERVED);
    if reserved.get(&start) != Some(&size) || space::overlaps(start, size) {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    reserved.remove(&start);
    addresses::give_back(start);
    Ok(())
}

/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for what is not reserved, mapped already, not of whole granules, or no memory.
pub fn map(start: u64, size: u64, offset: u64, handle: Handle, flags: u64) -> Outcome<()> {
    let is_whole = [start, size, offset]
        .iter()
        .all(|value| value.is_multiple_of(GRANULE));
    if size == 0 || !is_whole || offset != 0 || flags != 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let reserved = lock(&RESERVED);
    let physical = physical::get(handle)?;
    let end = start.checked_add(size).ok_or(CUDA_ERROR_INVALID_VALUE)?;
    let around = reserved.range(..=start).next_back();
    let is_inside = around.is_some_and(|(&first, &length)| end <= first + length);
    if !is_inside || size > physical.backing.size() || space::overlaps(start, size) {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    space::insert(Mapping {
        start,
        size,
        device: physical.backing.device().unwrap_or(0),
        backing: physical.backing,
        offset,
        kind: Kind::Physical(handle),
        access: [NO_ACCESS; MOST_DEVICES],
        context: 0,
        id: space::new_id(),
        flags: physical.properties.handle_types,
    });
    Ok(())
}

/// The whole mappings that make up a range.
fn mapped(start: u64, size: u64) -> Outcome<Vec<Mapping>> {
    let mappings = space::within(start, size);
    let mut at = start;
    for mapping in &mappings {
        if mapping.start != at || !matches!(mapping.kind, Kind::Physical(_)) {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        at += mapping.size;
    }
    match size > 0 && at.checked_sub(start) == Some(size) {
        true => Ok(mappings),
        false => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for what is not exactly mappings.
pub fn unmap(start: u64, size: u64) -> Outcome<()> {
    let _reserved = lock(&RESERVED);
    for mapping in mapped(start, size)? {
        space::remove(mapping.start);
    }
    Ok(())
}

/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for what is not exactly mappings, `CUDA_ERROR_INVALID_DEVICE`.
pub fn set_access(start: u64, size: u64, wanted: &[CUmemAccessDesc]) -> Outcome<()> {
    let _reserved = lock(&RESERVED);
    let mappings = mapped(start, size)?;
    let mut changes = Vec::new();
    for one in wanted {
        let access = match one.flags {
            0 => NO_ACCESS,
            1 => READ,
            3 => READ_WRITE,
            _ => return Err(CUDA_ERROR_INVALID_VALUE),
        };
        match one.location.kind {
            CU_MEM_LOCATION_TYPE_DEVICE => {
                changes.push((device::get(one.location.id)?.ordinal, access));
            }
            CU_MEM_LOCATION_TYPE_HOST | CU_MEM_LOCATION_TYPE_HOST_NUMA
                if mappings
                    .iter()
                    .all(|mapping| mapping.backing.device().is_none()) => {}
            _ => return Err(CUDA_ERROR_INVALID_VALUE),
        }
    }
    for mut mapping in mappings {
        for (device, access) in &changes {
            mapping.access[*device] = *access;
        }
        space::insert(mapping);
    }
    Ok(())
}
