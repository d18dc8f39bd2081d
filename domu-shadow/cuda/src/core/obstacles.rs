//! What keeps the process from moving.

use std::ffi::c_int;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use runtime::blocked::{Hold, Obstacle};

use super::tools;
use crate::abi::*;
use crate::driver::functions::driver;

/// The driver's checkpoint cannot carry it, and spoils the process for good.
pub static MANAGED: Obstacle = Obstacle::new("managed memory (cuMemAllocManaged)");
pub static MANAGED_VARIABLE: Obstacle = Obstacle::new("a variable in managed memory (__managed__)");
pub static MANAGED_POOL: Obstacle = Obstacle::new("a pool of managed memory (cuMemPoolCreate)");
pub static EXTERNAL_MEMORY: Obstacle =
    Obstacle::new("memory of another API (cuImportExternalMemory)");
pub static EXTERNAL_SEMAPHORE: Obstacle =
    Obstacle::new("a semaphore of another API (cuImportExternalSemaphore)");
pub static IPC_MEMORY: Obstacle = Obstacle::new("memory of another process (cuIpcOpenMemHandle)");
pub static IPC_EVENT: Obstacle =
    Obstacle::new("an event of another process (cuIpcOpenEventHandle)");
pub static IMPORTED: Obstacle =
    Obstacle::new("memory of another process (cuMemImportFromShareableHandle)");
pub static IMPORTED_POOL: Obstacle =
    Obstacle::new("a pool of another process (cuMemPoolImportFromShareableHandle)");

static ALL: [&Obstacle; 9] = [
    &MANAGED,
    &MANAGED_VARIABLE,
    &MANAGED_POOL,
    &EXTERNAL_MEMORY,
    &EXTERNAL_SEMAPHORE,
    &IPC_MEMORY,
    &IPC_EVENT,
    &IMPORTED,
    &IMPORTED_POOL,
];

/// Errors after which a process can do nothing more with CUDA.
const FATAL: [CUresult; 14] = [
    214, 220, 226, 700, 702, 710, 714, 715, 716, 717, 718, 719, 721, 722,
];

/// Devices that have been looked at, a bit each.
static LOOKED_AT: AtomicU64 = AtomicU64::new(0);
/// Why one of them cannot be given up.
static DEVICE: OnceLock<String> = OnceLock::new();
/// A fatal error that the driver has answered.
static BROKEN: AtomicI32 = AtomicI32::new(CUDA_SUCCESS);

/// There is no way back: the obstacle stays.
pub fn keep_for_ever(hold: Hold) {
    std::mem::forget(hold);
}

/// Whether nothing works any more in a context that has answered this.
pub fn is_fatal(code: CUresult) -> bool {
    FATAL.contains(&code)
}

/// The driver has answered this to a call of ours.
pub fn note_error(code: CUresult) {
    if is_fatal(code) {
        BROKEN.store(code, Ordering::Relaxed);
    }
}

/// The program uses a device. Called inside the gate.
pub fn look_at(device: CUdevice) {
    let bit = 1_u64.checked_shl(device as u32).unwrap_or(0);
    if LOOKED_AT.load(Ordering::Relaxed) & bit != 0 {
        return;
    }
    LOOKED_AT.fetch_or(bit, Ordering::Relaxed);
    let reason = if is_mig(device) {
        "a part of a GPU (MIG)".to_owned()
    } else if is_shared(device) {
        "a GPU shared through the Multi-Process Service (MPS)".to_owned()
    } else if has_checkpoints() {
        return;
    } else {
        // Under a sanitizer every driver answers so.
        tools::attached().unwrap_or_else(|| {
            "a driver without the checkpoint functions: 570 or newer has them".to_owned()
        })
    };
    log::warn!("this process cannot be migrated: {reason}");
    let _ = DEVICE.set(reason);
}

fn has_checkpoints() -> bool {
    let (pid, mut state) = (std::process::id() as c_int, 0);
    // SAFETY: the pointer is this function's variable.
    let code = unsafe { driver().cuCheckpointProcessGetState(pid, &raw mut state) };
    code != CUDA_ERROR_NOT_SUPPORTED
}

fn is_mig(device: CUdevice) -> bool {
    let mut name = [0_u8; 128];
    let len = name.len() as c_int - 1;
    // SAFETY: the driver writes at most `len` bytes to this function's variable.
    let code = unsafe { driver().cuDeviceGetName(name.as_mut_ptr().cast(), len, device) };
    code == CUDA_SUCCESS && name.windows(5).any(|part| part == b" MIG ")
}

fn is_shared(device: CUdevice) -> bool {
    let mut value = 0;
    let attribute = CU_DEVICE_ATTRIBUTE_MPS_ENABLED;
    // SAFETY: the pointer is this function's variable.
    let code = unsafe { driver().cuDeviceGetAttribute(&raw mut value, attribute, device) };
    if code == CUDA_SUCCESS {
        return value != 0;
    }
    // The driver does not know the attribute. It would use a server that is there.
    let directory = std::env::var_os("CUDA_MPS_PIPE_DIRECTORY");
    let directory = directory.unwrap_or_else(|| "/tmp/nvidia-mps".into());
    PathBuf::from(directory).join("control").exists()
}

/// Why the process cannot be moved for now, if so. Asks no driver.
pub fn blocked() -> Option<String> {
    if let Some(reason) = ALL.iter().find_map(|obstacle| obstacle.blocks()) {
        return Some(reason.to_owned());
    }
    if LOOKED_AT.load(Ordering::Relaxed) == 0 {
        return None;
    }
    if let Some(reason) = DEVICE.get() {
        return Some(reason.clone());
    }
    let code = BROKEN.load(Ordering::Relaxed);
    if code != CUDA_SUCCESS {
        return Some(format!("its CUDA contexts are broken (error {code})"));
    }
    tools::attached()
}
