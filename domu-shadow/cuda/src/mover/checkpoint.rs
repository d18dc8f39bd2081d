//! The driver's state of this process, taken off the GPU and brought back by the driver itself (`cuCheckpointProcess*`).
//!
//! ```text
//!            lock()            checkpoint()
//!  Running ─────────▶ Locked ───────────────▶ Checkpointed
//!     ▲                 │  ▲                       │
//!     └──── unlock() ───┘  └────── restore() ──────┘
//! ```
//!
//! A step that fails leaves the state as it was. While the state is not `Running`, every other call of CUDA's waits.

use std::ffi::{c_int, c_uint};
use std::ptr::null_mut;
use std::time::Duration;

use runtime::blocked;
use runtime::delta::DriverError;

use crate::abi::*;
use crate::beside::home::call;
use crate::driver::library;

/// How long `cuCheckpointProcessLock` may wait for calls that are under way: none are, with the gate closed, but through the driver's
/// private tables.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The program's calls go through.
#[derive(Debug)]
pub struct Running(());

/// They wait; the state is on the GPU.
#[derive(Debug)]
pub struct Locked(());

/// The state is in host memory. The driver holds no device.
#[derive(Debug)]
pub struct Checkpointed(());

fn own() -> c_int {
    std::process::id() as c_int
}

impl Running {
    fn lock(self) -> Result<Locked, (Running, DriverError)> {
        let mut args = CUcheckpointLockArgs {
            timeout_ms: LOCK_TIMEOUT.as_millis() as c_uint,
            ..Default::default()
        };
        match call!(cuCheckpointProcessLock(own(), &raw mut args)) {
            Ok(()) => {
                library::goes_away();
                Ok(Locked(()))
            }
            Err(error) => Err((self, error)),
        }
    }
}

impl Locked {
    fn checkpoint(self) -> Result<Checkpointed, (Locked, DriverError)> {
        match call!(cuCheckpointProcessCheckpoint(own(), null_mut())) {
            Ok(()) => Ok(Checkpointed(())),
            Err(error) => Err((self, error)),
        }
    }

    fn unlock(self) -> Result<Running, (Locked, DriverError)> {
        match call!(cuCheckpointProcessUnlock(own(), null_mut())) {
            Ok(()) => {
                library::is_back();
                Ok(Running(()))
            }
            Err(error) => Err((self, error)),
        }
    }
}

impl Checkpointed {
    fn restore(
        self,
        pairs: &mut [CUcheckpointGpuPair],
    ) -> Result<Locked, (Checkpointed, DriverError)> {
        let mut args = CUcheckpointRestoreArgs {
            gpu_pairs: if pairs.is_empty() {
                null_mut()
            } else {
                pairs.as_mut_ptr()
            },
            gpu_pairs_count: pairs.len() as c_uint,
            padding: 0,
            reserved: [0; 6],
        };
        match call!(cuCheckpointProcessRestore(own(), &raw mut args)) {
            Ok(()) => Ok(Locked(())),
            Err(error) => Err((self, error)),
        }
    }
}

/// Where the state is.
#[derive(Debug)]
pub enum State {
    Running(Running),
    Locked(Locked),
    Checkpointed(Checkpointed),
}

impl Default for State {
    fn default() -> State {
        State::Running(Running(()))
    }
}

impl State {
    pub fn is_running(&self) -> bool {
        matches!(self, State::Running(_))
    }

    pub fn is_checkpointed(&self) -> bool {
        matches!(self, State::Checkpointed(_))
    }

    /// Goes on until the state is off the GPU; what that does not lead to is undone. Only where nothing keeps the process from it:
    /// a checkpoint that the driver refuses may be its last.
    ///
    /// # Errors
    /// The first step's that failed.
    pub fn take_away(&mut self) -> Result<(), DriverError> {
        let locked = match std::mem::take(self) {
            State::Running(running) => match running.lock() {
                Ok(locked) => locked,
                Err((running, error)) => {
                    *self = State::Running(running);
                    return Err(error);
                }
            },
            State::Locked(locked) => locked,
            checkpointed @ State::Checkpointed(_) => {
                *self = checkpointed;
                return Ok(());
            }
        };
        match locked.checkpoint() {
            Ok(checkpointed) => {
                *self = State::Checkpointed(checkpointed);
                Ok(())
            }
            Err((locked, error)) => {
                note_spoilt(error);
                *self = match locked.unlock() {
                    Ok(running) => State::Running(running),
                    Err((locked, error)) => {
                        log::warn!("after a checkpoint that failed: {error}");
                        State::Locked(locked)
                    }
                };
                Err(error)
            }
        }
    }

    /// Goes on until the program's calls go through. `pairs`: which GPU takes the place of which, in ways to be tried in turn; an empty
    /// one where none does.
    ///
    /// # Errors
    /// The first step's that failed; the steps before it hold.
    pub fn bring_back(
        &mut self,
        pairs: &mut [Vec<CUcheckpointGpuPair>],
    ) -> Result<(), DriverError> {
        let locked = match std::mem::take(self) {
            State::Checkpointed(checkpointed) => match restore_by_any(checkpointed, pairs) {
                Ok(locked) => locked,
                Err((checkpointed, error)) => {
                    *self = State::Checkpointed(checkpointed);
                    return Err(error);
                }
            },
            State::Locked(locked) => locked,
            State::Running(running) => {
                *self = State::Running(running);
                return Ok(());
            }
        };
        match locked.unlock() {
            Ok(running) => {
                *self = State::Running(running);
                Ok(())
            }
            Err((locked, error)) => {
                *self = State::Locked(locked);
                Err(error)
            }
        }
    }
}

/// Whether the driver says so.
fn is_checkpointed() -> bool {
    let mut state = CU_PROCESS_STATE_FAILED;
    call!(cuCheckpointProcessGetState(own(), &raw mut state)).is_ok()
        && state == CU_PROCESS_STATE_CHECKPOINTED
}

fn restore_by_any(
    mut checkpointed: Checkpointed,
    pairs: &mut [Vec<CUcheckpointGpuPair>],
) -> Result<Locked, (Checkpointed, DriverError)> {
    let (last, others) = pairs.split_last_mut().map_or_else(
        || (&mut [][..], &mut [][..]),
        |(last, others)| (last.as_mut_slice(), others),
    );
    for pairs in others {
        match checkpointed.restore(pairs) {
            Err((still, error)) if is_checkpointed() => {
                log::info!("{error}: another way to name the GPUs is tried");
                checkpointed = still;
            }
            answer => return answer,
        }
    }
    checkpointed.restore(last)
}

/// A process that the driver could not checkpoint for what it has can never be checkpointed again (580.159).
fn note_spoilt(error: DriverError) {
    if matches!(error.code, CUDA_ERROR_NOT_SUPPORTED | CUDA_ERROR_UNKNOWN) {
        blocked::block(format!(
            "{error}: the driver cannot checkpoint this process any more"
        ));
    }
}
