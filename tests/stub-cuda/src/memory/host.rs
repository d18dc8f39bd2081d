//! Host memory that devices may touch, at the same address.

use std::sync::Mutex;

use super::backing::Backing;
use super::space::{self, Kind, Mapping, READ, READ_WRITE};
use crate::abi::*;
use crate::lock::lock;
use crate::options::MOST_DEVICES;

const PAGE: u64 = 4096;
const REGISTER_READ_ONLY: u32 = 8;

/// Registering is one step for others.
static REGISTERING: Mutex<()> = Mutex::new(());

/// Host memory of the driver's.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for no bytes, `CUDA_ERROR_OUT_OF_MEMORY`.
pub fn allocate(context: Handle, device: usize, size: u64, flags: u32) -> Outcome<u64> {
    if size == 0 || flags & !7 != 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let backing = Backing::new(None, size)?;
    let start = backing.base() as u64;
    space::insert(mapping(
        start,
        size,
        backing,
        Kind::Host,
        (context, device, flags),
    ));
    Ok(start)
}

fn mapping(
    start: u64,
    size: u64,
    backing: std::sync::Arc<Backing>,
    kind: Kind,
    (context, device, flags): (Handle, usize, u32),
) -> Mapping {
    let is_read_only = kind == Kind::Registered && flags & REGISTER_READ_ONLY != 0;
    Mapping {
        start,
        size,
        backing,
        offset: 0,
        kind,
        access: [if is_read_only { READ } else { READ_WRITE }; MOST_DEVICES],
        context,
        device,
        id: space::new_id(),
        flags,
    }
}

/// Frees it.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for what is none.
pub fn free(address: u64) -> Outcome<()> {
    space::find(address)
        .filter(|mapping| mapping.start == address && mapping.kind == Kind::Host)
        .and_then(|_| space::remove(address))
        .map(drop)
        .ok_or(CUDA_ERROR_INVALID_VALUE)
}

/// Makes the program's memory reachable.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for what is no memory, `CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED`.
pub fn register(
    context: Handle,
    device: usize,
    address: u64,
    size: u64,
    flags: u32,
) -> Outcome<()> {
    let end = address.checked_add(size).ok_or(CUDA_ERROR_INVALID_VALUE)?;
    if address == 0 || size == 0 || flags & !0xf != 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let _registering = lock(&REGISTERING);
    if space::overlaps(address, size) {
        return Err(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    }
    let first = address / PAGE * PAGE;
    if !is_mapped(first, end - first) {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let backing = Backing::borrowed(address as usize, size);
    let made = mapping(
        address,
        size,
        backing,
        Kind::Registered,
        (context, device, flags),
    );
    space::insert(made);
    Ok(())
}

/// Takes it from devices again.
///
/// # Errors
/// `CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED`.
pub fn unregister(address: u64) -> Outcome<()> {
    space::find(address)
        .filter(|mapping| mapping.start == address && mapping.kind == Kind::Registered)
        .and_then(|_| space::remove(address))
        .map(drop)
        .ok_or(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED)
}

fn is_mapped(start: u64, size: u64) -> bool {
    let mut pages = vec![0_u8; size.div_ceil(PAGE) as usize];
    // SAFETY: mincore(2) only looks at the page tables; the result has a byte for each page.
    unsafe {
        libc::mincore(
            std::ptr::with_exposed_provenance_mut(start as usize),
            size as usize,
            pages.as_mut_ptr(),
        ) == 0
    }
}
