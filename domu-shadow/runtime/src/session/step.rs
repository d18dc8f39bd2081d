//! A step of a move: not begun once the program exits, and never silent for long.

use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use channel::guest::{Interrupt, StepError};

use crate::mover::MoveError;
use crate::vendor::foreign;
use crate::{fork, process_exit};

/// How often a step with nothing to send says that it is alive.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// No step begins once the program exits, which waits for the last one.
pub(super) fn step() -> Result<MutexGuard<'static, ()>, StepError> {
    process_exit::step().ok_or_else(exits)
}

/// For a step that may take long.
pub(super) fn go_on() -> Result<(), StepError> {
    if process_exit::is_under_way() {
        Err(exits())
    } else {
        Ok(())
    }
}

fn exits() -> StepError {
    StepError::Failed("the program exits".into())
}

/// Does work that the driver may block, calling `busy` meanwhile. Work that can end early asks what it is given.
pub(super) fn alive_while<T: Send>(
    work: impl FnOnce(&(dyn Fn() -> bool + Sync)) -> T + Send,
    mut busy: impl FnMut() -> Result<(), Interrupt>,
) -> Result<T, StepError> {
    let (ended, end) = mpsc::sync_channel::<()>(1);
    let called_off = AtomicBool::new(false);
    let go_on = || !called_off.load(Ordering::Relaxed) && !process_exit::is_under_way();
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().name(foreign::SESSION_THREAD.into());
        // Dropped with the work's end, also in a panic.
        let worker = worker.spawn_scoped(scope, || {
            fork::is_movers_thread();
            let _ended = ended;
            work(&go_on)
        });
        let worker = worker.map_err(|e| StepError::failed(format!("no thread: {e}")))?;
        // What the driver does cannot be interrupted: an error waits for its end.
        let mut said = Ok(());
        while end.recv_timeout(SIGN_OF_LIFE) == Err(RecvTimeoutError::Timeout) {
            said = said.and_then(|()| busy());
            called_off.store(said.is_err(), Ordering::Relaxed);
        }
        let done = worker.join();
        said?;
        done.map_err(|_| StepError::Failed("a bug: the driver's worker panicked".into()))
    })
}

/// What a mover's error means to the step: where its own sink has ended a pass, that one's.
pub(super) fn failed(error: MoveError) -> StepError {
    match error {
        MoveError::Sink(ended) => ended,
        other => StepError::failed(other),
    }
}
