//! Checkpoints of this process.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::thread;

use crate::abi::*;
use crate::call::{self, entry_points};
use crate::checkpoint;
use crate::ffi::{get, list, put};
use crate::gate::{self, State};
use crate::options::in_force;

/// # Errors
/// For a driver without the functions, one that is not in use, and other processes.
fn check(pid: c_int) -> Outcome<()> {
    if in_force().no_checkpoint {
        return Err(CUDA_ERROR_NOT_SUPPORTED);
    }
    call::initialized()?;
    match u32::try_from(pid) == Ok(std::process::id()) {
        true => Ok(()),
        false => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

entry_points! { free
    fn cuCheckpointProcessGetState(pid: c_int, state: *mut c_uint) {
        check(pid)?;
        put(state, match gate::state() {
            State::Running | State::Locking => CU_PROCESS_STATE_RUNNING,
            State::Locked => CU_PROCESS_STATE_LOCKED,
            State::Checkpointed => CU_PROCESS_STATE_CHECKPOINTED,
            State::Failed => CU_PROCESS_STATE_FAILED,
        })
    }

    fn cuCheckpointProcessLock(pid: c_int, arguments: *const CUcheckpointLockArgs) {
        check(pid)?;
        let timeout = match get(arguments) {
            Err(_) => 0,
            Ok(arguments) if arguments.reserved0 != 0 || arguments.reserved1 != [0; 7] => {
                return Err(CUDA_ERROR_INVALID_VALUE);
            }
            Ok(arguments) => arguments.timeout_ms,
        };
        checkpoint::lock(timeout)
    }

    fn cuCheckpointProcessCheckpoint(pid: c_int, arguments: *const c_void) {
        check(pid)?;
        match get(arguments.cast::<[u64; 8]>()) {
            Ok(reserved) if reserved != [0; 8] => Err(CUDA_ERROR_INVALID_VALUE),
            _ => checkpoint::checkpoint(),
        }
    }

    fn cuCheckpointProcessRestore(pid: c_int, arguments: *const CUcheckpointRestoreArgs) {
        check(pid)?;
        let pairs = match get(arguments) {
            Err(_) => Vec::new(),
            Ok(arguments) if arguments.reserved != [0; 13] => return Err(CUDA_ERROR_INVALID_VALUE),
            Ok(arguments) => list(arguments.pairs, arguments.count as usize)?,
        };
        checkpoint::restore(&pairs)
    }

    fn cuCheckpointProcessUnlock(pid: c_int, arguments: *const c_void) {
        check(pid)?;
        match get(arguments.cast::<[u64; 8]>()) {
            Ok(reserved) if reserved != [0; 8] => Err(CUDA_ERROR_INVALID_VALUE),
            _ => checkpoint::unlock(),
        }
    }

    fn cuCheckpointProcessGetRestoreThreadId(pid: c_int, thread: *mut c_int) {
        check(pid)?;
        put(thread, restore_thread())
    }
}

/// A thread of the driver's, which checkpoints of whole processes have to let run.
fn restore_thread() -> c_int {
    static THREAD: OnceLock<c_int> = OnceLock::new();
    *THREAD.get_or_init(|| {
        let (tell, told) = mpsc::channel();
        let sleep = move || {
            // SAFETY: gettid(2) has no preconditions.
            let _ = tell.send(unsafe { libc::gettid() });
            loop {
                thread::park();
            }
        };
        let builder = thread::Builder::new().name("stub-restore".to_owned());
        match builder.spawn(sleep) {
            Ok(_) => told.recv().unwrap_or(0),
            Err(_) => 0,
        }
    })
}
