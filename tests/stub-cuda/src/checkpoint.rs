//! `cuCheckpointProcess*`: taking the process off its devices and putting it back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::abi::*;
use crate::context::{CONTEXTS, open_nodes};
use crate::device::{self, Gpu};
use crate::gate::{self, State};
use crate::memory::space::{self, Kind, Mapping};
use crate::node;
use crate::options::in_force;

/// Set by a checkpoint that managed memory made impossible: none is possible afterwards.
static SPOILT: AtomicBool = AtomicBool::new(false);
static RESTORES: AtomicU64 = AtomicU64::new(0);

/// # Errors
/// `CUDA_ERROR_ILLEGAL_STATE`, `CUDA_ERROR_NOT_READY` at the timeout (0: none).
pub fn lock(timeout_ms: u32) -> Outcome<()> {
    if !gate::change(State::Running, State::Locking) {
        return Err(CUDA_ERROR_ILLEGAL_STATE);
    }
    let timeout = Duration::from_millis(timeout_ms.into());
    let deadline = (timeout_ms != 0).then(|| Instant::now() + timeout);
    let is_idle = gate::drained(deadline) && idle(deadline);
    let next = if is_idle {
        State::Locked
    } else {
        State::Running
    };
    gate::change(State::Locking, next);
    match is_idle {
        true => Ok(()),
        false => Err(CUDA_ERROR_NOT_READY),
    }
}

/// Waits until no stream has work.
fn idle(deadline: Option<Instant>) -> bool {
    let contexts = CONTEXTS.all();
    let streams = contexts.iter().flat_map(|context| context.streams());
    let mut fences = streams.filter_map(|stream| stream.last());
    fences.all(|fence| match deadline {
        Some(deadline) => fence.wait_until(deadline),
        None => {
            fence.wait();
            true
        }
    })
}

/// # Errors
/// `CUDA_ERROR_ILLEGAL_STATE`, `CUDA_ERROR_NOT_SUPPORTED` with managed memory, and then `CUDA_ERROR_UNKNOWN` for ever.
pub fn checkpoint() -> Outcome<()> {
    if gate::state() != State::Locked {
        return Err(CUDA_ERROR_ILLEGAL_STATE);
    }
    if SPOILT.load(Ordering::SeqCst) {
        return Err(CUDA_ERROR_UNKNOWN);
    }
    let managed = |mapping: &Mapping| mapping.kind == Kind::Managed;
    if !space::all(managed).is_empty() {
        SPOILT.store(true, Ordering::SeqCst);
        return Err(CUDA_ERROR_NOT_SUPPORTED);
    }
    node::close();
    gate::change(State::Locked, State::Checkpointed);
    Ok(())
}

/// # Errors
/// `CUDA_ERROR_ILLEGAL_STATE`, `CUDA_ERROR_INVALID_VALUE` for pairs that do not name all devices or name what is not
/// there, `CUDA_ERROR_NO_DEVICE` where a GPU is away. The process stays as it was, or has failed by option.
pub fn restore(pairs: &[CUcheckpointGpuPair]) -> Outcome<()> {
    if gate::state() != State::Checkpointed {
        return Err(CUDA_ERROR_ILLEGAL_STATE);
    }
    let nth = RESTORES.fetch_add(1, Ordering::SeqCst) + 1;
    let result = match in_force().restore_fails {
        Some(rule) if rule.matches(nth) => Err(CUDA_ERROR_UNKNOWN),
        _ => put_back(pairs),
    };
    let next = match result {
        Ok(()) => State::Locked,
        Err(_) if in_force().fails_for_good => State::Failed,
        Err(_) => State::Checkpointed,
    };
    gate::change(State::Checkpointed, next);
    result
}

fn put_back(pairs: &[CUcheckpointGpuPair]) -> Outcome<()> {
    let gpus = targets(pairs)?;
    let before: Vec<Gpu> = device::all().iter().map(|device| device.gpu()).collect();
    for (device, gpu) in device::all().iter().zip(gpus) {
        device.set_gpu(gpu);
    }
    open_nodes().inspect_err(|_| {
        for (device, gpu) in device::all().iter().zip(before) {
            device.set_gpu(gpu);
        }
    })
}

/// The GPU for each device.
fn targets(pairs: &[CUcheckpointGpuPair]) -> Outcome<Vec<Gpu>> {
    let present = device::present();
    let mut targets: Vec<Gpu> = Vec::new();
    for device in device::all() {
        let old = device.gpu();
        let wanted = match pairs.is_empty() {
            true => old.uuid,
            false => pairs
                .iter()
                .find(|pair| pair.old_uuid == old.uuid)
                .map(|pair| pair.new_uuid)
                .ok_or(CUDA_ERROR_INVALID_VALUE)?,
        };
        let gpu = present.iter().find(|gpu| gpu.uuid == wanted).ok_or(
            if present.is_empty() || pairs.is_empty() || wanted == old.uuid {
                CUDA_ERROR_NO_DEVICE
            } else {
                CUDA_ERROR_INVALID_VALUE
            },
        )?;
        if gpu.name != old.name {
            return Err(CUDA_ERROR_NOT_SUPPORTED);
        }
        if targets.contains(gpu) {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        targets.push(gpu.clone());
    }
    match pairs.is_empty() || pairs.len() == targets.len() {
        true => Ok(targets),
        false => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

/// # Errors
/// `CUDA_ERROR_ILLEGAL_STATE`.
pub fn unlock() -> Outcome<()> {
    match gate::change(State::Locked, State::Running) {
        true => Ok(()),
        false => Err(CUDA_ERROR_ILLEGAL_STATE),
    }
}
