//! Stream-ordered pools: what they keep without need goes before the driver's checkpoint carries it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::state::state;
use crate::abi::*;
use crate::driver::functions::driver;

static IS_USED: AtomicBool = AtomicBool::new(false);

/// The program takes memory of a pool.
pub fn note_use() {
    IS_USED.store(true, Ordering::Relaxed);
}

/// Gives back what nobody uses of what the program's pools have. The program's work has ended.
pub fn trim() {
    let (devices, mut pools) = {
        let state = state();
        let devices: BTreeSet<CUdevice> = state.contexts.live().map(|it| it.device()).collect();
        (devices, state.pools.clone())
    };
    for device in devices {
        // SAFETY: no pointers.
        unsafe { driver().cuDeviceGraphMemTrim(device) };
        if IS_USED.load(Ordering::Relaxed) {
            pools.extend(pools_of(device));
        }
    }
    for pool in pools {
        // SAFETY: the program has not destroyed it, and the gate is closed.
        let code = unsafe { driver().cuMemPoolTrimTo(pool as CUmemoryPool, 0) };
        if code != CUDA_SUCCESS {
            log::debug!("cuMemPoolTrimTo: CUDA error {code}");
        }
    }
}

/// The pools that a device's allocations come from, unless they name one.
fn pools_of(device: CUdevice) -> impl Iterator<Item = usize> {
    let mut pools = [std::ptr::null_mut(); 2];
    let [current, default] = &mut pools;
    // SAFETY: the pointers are this function's variables.
    unsafe {
        driver().cuDeviceGetMemPool(current, device);
        driver().cuDeviceGetDefaultMemPool(default, device);
    }
    let pools = pools.into_iter().map(|pool| pool as usize);
    pools.filter(|pool| *pool != 0)
}
