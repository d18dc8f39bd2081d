//! Memory of other processes, by handles that they gave.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::Mutex;

use crate::abi::*;
use crate::lock::lock;
use crate::memory::addresses::{self, GRANULE};
use crate::memory::backing::Backing;
use crate::memory::ordinary;
use crate::memory::space::{self, Kind, Mapping};

/// What a handle's 64 bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shared {
    process: u64,
    file: u64,
    offset: u64,
    size: u64,
}

const MAGIC: u64 = 0x786c_6770_755f_6970;

/// What is given away, by address: the file stays open as long as the process lives.
static GIVEN: Mutex<BTreeMap<u64, Shared>> = Mutex::new(BTreeMap::new());
/// Address, and how often it was opened.
static OPENED: Mutex<BTreeMap<(Handle, Shared), (u64, usize)>> = Mutex::new(BTreeMap::new());

impl Shared {
    fn bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let words = [MAGIC, self.process, self.file, self.offset, self.size];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn parse(bytes: &[u8; 64]) -> Option<Shared> {
        let mut words = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word));
        (words.next() == Some(MAGIC)).then_some(())?;
        Some(Shared {
            process: words.next()?,
            file: words.next()?,
            offset: words.next()?,
            size: words.next()?,
        })
    }
}

/// A handle of memory, for other processes.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for what is not of `cuMemAlloc`.
pub fn give(address: u64) -> Outcome<[u8; 64]> {
    let mapping = space::find(address)
        .filter(|mapping| mapping.kind == Kind::Device)
        .ok_or(CUDA_ERROR_INVALID_VALUE)?;
    let mut given = lock(&GIVEN);
    if let Some(shared) = given.get(&mapping.id) {
        return Ok(shared.bytes());
    }
    let shared = Shared {
        process: std::process::id().into(),
        file: mapping.backing.export()?.into_raw_fd() as u64,
        offset: mapping.offset,
        size: mapping.size,
    };
    given.insert(mapping.id, shared);
    Ok(shared.bytes())
}

/// Maps what another process gave.
///
/// # Errors
/// `CUDA_ERROR_INVALID_CONTEXT` for what this process gave, `CUDA_ERROR_INVALID_VALUE`, `CUDA_ERROR_OUT_OF_MEMORY`.
pub fn open(context: Handle, device: usize, handle: &[u8; 64]) -> Outcome<u64> {
    let shared = Shared::parse(handle).ok_or(CUDA_ERROR_INVALID_VALUE)?;
    if shared.process == u64::from(std::process::id()) {
        return Err(CUDA_ERROR_INVALID_CONTEXT);
    }
    let mut opened = lock(&OPENED);
    if let Some((address, count)) = opened.get_mut(&(context, shared)) {
        *count += 1;
        return Ok(*address);
    }
    let path = format!("/proc/{}/fd/{}", shared.process, shared.file);
    let file = OpenOptions::new().read(true).write(true).open(path);
    let backing = Backing::import(OwnedFd::from(file.map_err(|_| CUDA_ERROR_INVALID_VALUE)?))?;
    if shared
        .offset
        .checked_add(shared.size)
        .is_none_or(|end| end > backing.size())
    {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let start = addresses::take(shared.size, GRANULE, 0).ok_or(CUDA_ERROR_OUT_OF_MEMORY)?;
    space::insert(Mapping {
        start,
        size: shared.size,
        backing,
        offset: shared.offset,
        kind: Kind::Ipc,
        access: ordinary::access_of(device),
        context,
        device,
        id: space::new_id(),
        flags: 0,
    });
    opened.insert((context, shared), (start, 1));
    Ok(start)
}

/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for what was not opened.
pub fn close(address: u64) -> Outcome<()> {
    let mut opened = lock(&OPENED);
    let key = opened
        .iter()
        .find(|(_, (at, _))| *at == address)
        .map(|(key, _)| *key);
    let key = key.ok_or(CUDA_ERROR_INVALID_VALUE)?;
    if let Some((_, count)) = opened.get_mut(&key) {
        *count -= 1;
        if *count > 0 {
            return Ok(());
        }
    }
    opened.remove(&key);
    space::remove(address).ok_or(CUDA_ERROR_INVALID_VALUE)?;
    addresses::give_back(address);
    Ok(())
}
