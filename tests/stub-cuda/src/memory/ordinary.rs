//! Memory of `cuMemAlloc` and its relatives. From 1 MiB on it begins at a granule; smaller ones share granules.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::addresses::{self, GRANULE};
use super::backing::Backing;
use super::space::{self, Kind, Mapping, NO_ACCESS, READ_WRITE};
use crate::abi::*;
use crate::lock::lock;
use crate::options::MOST_DEVICES;

/// Allocations below it share a granule.
const SMALL: u64 = 1 << 20;

/// Small allocations begin at multiples of it.
const STEP: u64 = 0x200;

/// A granule that small allocations of one owner share.
struct Block {
    start: u64,
    backing: Arc<Backing>,
    owner: (Handle, Kind),
    /// Offset and size of what is taken.
    taken: BTreeMap<u64, u64>,
}

static BLOCKS: Mutex<Vec<Block>> = Mutex::new(Vec::new());

/// Access for one device.
pub fn access_of(device: usize) -> [u8; MOST_DEVICES] {
    let mut access = [NO_ACCESS; MOST_DEVICES];
    access[device] = READ_WRITE;
    access
}

/// Allocates memory of a device for a context.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for no bytes, `CUDA_ERROR_OUT_OF_MEMORY`.
pub fn allocate(context: Handle, device: usize, size: u64, kind: Kind) -> Outcome<u64> {
    if size == 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let mapping = |start, backing, offset| Mapping {
        start,
        size,
        backing,
        offset,
        kind,
        access: access_of(device),
        context,
        device,
        id: space::new_id(),
        flags: 0,
    };
    if size < SMALL {
        let (block, backing, offset) = share(context, device, size, kind)?;
        space::insert(mapping(block + offset, backing, offset));
        return Ok(block + offset);
    }
    let backing = Backing::new(Some(device), size)?;
    let start = addresses::take(size, GRANULE, 0).ok_or(CUDA_ERROR_OUT_OF_MEMORY)?;
    space::insert(mapping(start, backing, 0));
    Ok(start)
}

fn share(
    context: Handle,
    device: usize,
    size: u64,
    kind: Kind,
) -> Outcome<(u64, Arc<Backing>, u64)> {
    let mut blocks = lock(&BLOCKS);
    for block in blocks
        .iter_mut()
        .filter(|block| block.owner == (context, kind))
    {
        if let Some(offset) = room(&block.taken, size) {
            block.taken.insert(offset, size);
            return Ok((block.start, block.backing.clone(), offset));
        }
    }
    let backing = Backing::new(Some(device), GRANULE)?;
    let start = addresses::take(GRANULE, GRANULE, 0).ok_or(CUDA_ERROR_OUT_OF_MEMORY)?;
    blocks.push(Block {
        start,
        backing: backing.clone(),
        owner: (context, kind),
        taken: BTreeMap::from([(0, size)]),
    });
    Ok((start, backing, 0))
}

fn room(taken: &BTreeMap<u64, u64>, size: u64) -> Option<u64> {
    let mut at = 0;
    for (&offset, &length) in taken {
        if offset - at >= size {
            break;
        }
        at = (offset + length).next_multiple_of(STEP);
    }
    (GRANULE.checked_sub(at)? >= size).then_some(at)
}

/// Managed memory.
///
/// # Errors
/// As [`allocate`].
pub fn allocate_managed(context: Handle, device: usize, size: u64, flags: u32) -> Outcome<u64> {
    let rounded = addresses::rounded(size)
        .filter(|&size| size > 0)
        .ok_or(CUDA_ERROR_INVALID_VALUE)?;
    let start = addresses::take(rounded, GRANULE, 0).ok_or(CUDA_ERROR_OUT_OF_MEMORY)?;
    space::insert(Mapping {
        start,
        size,
        backing: Backing::at(start, rounded)?,
        offset: 0,
        kind: Kind::Managed,
        access: [READ_WRITE; MOST_DEVICES],
        context,
        device,
        id: space::new_id(),
        flags,
    });
    Ok(start)
}

/// Takes the mapping away that was allocated at an address, with its memory and addresses.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` where nothing like it begins there.
pub fn free(address: u64, is_kind: impl Fn(Kind) -> bool) -> Outcome<()> {
    space::find(address)
        .filter(|mapping| mapping.start == address && is_kind(mapping.kind))
        .ok_or(CUDA_ERROR_INVALID_VALUE)?;
    let mapping = space::remove(address).ok_or(CUDA_ERROR_INVALID_VALUE)?;
    let mut blocks = lock(&BLOCKS);
    let within = |block: &Block| (block.start..block.start + GRANULE).contains(&address);
    match blocks.iter().position(within) {
        Some(nth) => {
            let offset = address - blocks[nth].start;
            blocks[nth].taken.remove(&offset);
            if blocks[nth].taken.is_empty() {
                let block = blocks.swap_remove(nth);
                drop((mapping, block.backing));
                addresses::give_back(block.start);
            }
        }
        None => {
            drop(mapping);
            addresses::give_back(address);
        }
    }
    Ok(())
}
