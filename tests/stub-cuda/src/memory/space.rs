//! What is mapped where. Every access of a device goes through here, so that a bad one is an error and no fault.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use super::backing::Backing;
use crate::abi::*;
use crate::lock::{read, write};
use crate::options::MOST_DEVICES;

pub const NO_ACCESS: u8 = 0;
pub const READ: u8 = 1;
pub const READ_WRITE: u8 = 3;

/// What a mapping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `cuMemAlloc`.
    Device,
    /// `cuMemAllocManaged`.
    Managed,
    /// `cuMemHostAlloc`.
    Host,
    /// `cuMemHostRegister`.
    Registered,
    /// `cuMemMap`, of that handle.
    Physical(Handle),
    /// Of that pool.
    Pool(Handle),
    /// `cuIpcOpenMemHandle`.
    Ipc,
    /// A variable of a module.
    Global,
}

/// A range of addresses that leads to memory.
#[derive(Clone)]
pub struct Mapping {
    pub start: u64,
    pub size: u64,
    pub backing: Arc<Backing>,
    pub offset: u64,
    pub kind: Kind,
    /// What each device may do.
    pub access: [u8; MOST_DEVICES],
    /// Where it was made; 0 where that does not matter.
    pub context: Handle,
    /// The device it belongs to.
    pub device: usize,
    /// Unique in the process.
    pub id: u64,
    pub flags: u32,
}

/// Who touches memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// A kernel on a device.
    Device(usize),
    /// A copy: any device's engine will do.
    Any,
}

static MAPPINGS: RwLock<BTreeMap<u64, Mapping>> = RwLock::new(BTreeMap::new());
static EPOCH: AtomicU64 = AtomicU64::new(1);
/// Which device may touch ordinary memory of which other one: bit 8 × viewer + owner.
static PEERS: AtomicU64 = AtomicU64::new(0);
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

fn are_peers(viewer: usize, owner: usize) -> bool {
    PEERS.load(Ordering::Relaxed) >> (8 * viewer + owner) & 1 != 0
}

/// A device may touch another one's ordinary memory, or no more.
pub fn set_peer(viewer: usize, owner: usize, may: bool) {
    let bit = 1 << (8 * viewer + owner);
    match may {
        true => PEERS.fetch_or(bit, Ordering::SeqCst),
        false => PEERS.fetch_and(!bit, Ordering::SeqCst),
    };
    EPOCH.fetch_add(1, Ordering::AcqRel);
}

/// A new mapping's identity.
pub fn new_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// Changes whenever a mapping does.
pub fn epoch() -> u64 {
    EPOCH.load(Ordering::Acquire)
}

/// Puts a mapping in, or another in place of it.
pub fn insert(mapping: Mapping) {
    write(&MAPPINGS).insert(mapping.start, mapping);
    EPOCH.fetch_add(1, Ordering::AcqRel);
}

/// Takes out the mapping that begins at `start`.
pub fn remove(start: u64) -> Option<Mapping> {
    let removed = write(&MAPPINGS).remove(&start);
    EPOCH.fetch_add(1, Ordering::AcqRel);
    removed
}

/// The mapping that an address is in.
pub fn find(address: u64) -> Option<Mapping> {
    let mappings = read(&MAPPINGS);
    let (_, mapping) = mappings.range(..=address).next_back()?;
    (address - mapping.start < mapping.size).then(|| mapping.clone())
}

/// The mappings that begin in a range, lowest first.
pub fn within(start: u64, size: u64) -> Vec<Mapping> {
    let mappings = read(&MAPPINGS);
    let range = mappings.range(start..start.saturating_add(size));
    range.map(|(_, mapping)| mapping.clone()).collect()
}

/// Those that `wanted` picks.
pub fn all(wanted: impl Fn(&Mapping) -> bool) -> Vec<Mapping> {
    let mappings = read(&MAPPINGS);
    mappings
        .values()
        .filter(|mapping| wanted(mapping))
        .cloned()
        .collect()
}

/// Whether anything is mapped in a range.
pub fn overlaps(start: u64, size: u64) -> bool {
    let mappings = read(&MAPPINGS);
    let last = mappings.range(..start.saturating_add(size)).next_back();
    last.is_some_and(|(_, mapping)| mapping.start + mapping.size > start)
}

impl Mapping {
    /// Whether the viewer may read, or write.
    pub fn allows(&self, viewer: Viewer, writes: bool) -> bool {
        let needed = if writes { READ_WRITE } else { READ };
        match viewer {
            Viewer::Device(device) => {
                self.access[device] & needed == needed
                    || matches!(self.kind, Kind::Device | Kind::Global)
                        && are_peers(device, self.device)
            }
            Viewer::Any => self.access.iter().any(|access| access & needed == needed),
        }
    }

    /// Where the driver reaches an address of the mapping.
    pub fn host(&self, address: u64) -> usize {
        self.backing.base() + (self.offset + (address - self.start)) as usize
    }
}

/// A piece of memory of a range of addresses. It stays as long as this lives.
pub struct Piece {
    pub pointer: usize,
    pub size: usize,
    _backing: Arc<Backing>,
}

/// The memory behind a range of addresses.
///
/// # Errors
/// `CUDA_ERROR_ILLEGAL_ADDRESS` where some of it is not mapped or may not be touched.
pub fn pieces(address: u64, size: u64, viewer: Viewer, writes: bool) -> Outcome<Vec<Piece>> {
    let mut pieces = Vec::new();
    let (mut at, mut left) = (address, size);
    while left > 0 {
        let mapping = find(at)
            .filter(|mapping| mapping.allows(viewer, writes))
            .ok_or(CUDA_ERROR_ILLEGAL_ADDRESS)?;
        let part = left.min(mapping.start + mapping.size - at);
        pieces.push(Piece {
            pointer: mapping.host(at),
            size: part as usize,
            _backing: mapping.backing,
        });
        at += part;
        left -= part;
    }
    Ok(pieces)
}
