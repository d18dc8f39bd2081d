//! The figures, and the end of the moves when the program exits.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use runtime::reserve::{Reserve, Room};

/// How long an exit waits for the move in progress.
const LAST_MOVE: Duration = Duration::from_secs(60);

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Moves there and back.
    pub(super) moves: u64,
    /// Attempts that the process refused because of something that cannot move.
    pub(super) blocked: u64,
    /// Attempts in which commands did not end in time.
    pub(super) not_quiet: u64,
    /// Attempts given up for another reason, and restores that had to be tried again.
    pub(super) failed: u64,
    /// Bytes captured.
    pub(super) bytes: u64,
    pub(super) longest_blackout_ns: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{\"moves\":{},\"blocked\":{},\"not_quiet\":{},\"failed\":{},\"bytes\":{},\"longest_blackout_ms\":{:.3}}}",
            self.moves,
            self.blocked,
            self.not_quiet,
            self.failed,
            self.bytes,
            self.longest_blackout_ns as f64 / 1e6
        )
    }
}

struct State {
    counts: Counts,
    moving: bool,
    over: bool,
}

static STATE: Mutex<State> = Mutex::new(State {
    counts: Counts {
        moves: 0,
        blocked: 0,
        not_quiet: 0,
        failed: 0,
        bytes: 0,
        longest_blackout_ns: 0,
    },
    moving: false,
    over: false,
});
static CHANGED: Condvar = Condvar::new();
/// The process that is moved, not one that it forked; and the report's file, with room to open it.
static OWNER: OnceLock<(u32, Option<PathBuf>)> = OnceLock::new();
static ROOM: Mutex<Option<Reserve>> = Mutex::new(None);

fn state() -> std::sync::MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on an exit ends the moves and writes the report.
pub(super) fn write_at_exit(file: Option<PathBuf>) {
    let room = Room { files: 1, bytes: 0 };
    *ROOM.lock().unwrap_or_else(PoisonError::into_inner) = Some(Reserve::at_most(room));
    let _ = OWNER.set((std::process::id(), file));
    register();
}

/// Handlers run last-registered first: after a driver has been loaded ours must come before its own again.
fn register() {
    // SAFETY: `at_exit` is an `extern "C"` function without arguments that lives as long as the process.
    if unsafe { libc::atexit(at_exit) } != 0 {
        log::warn!("no report of the moves at exit");
    }
}

extern "C" fn at_exit() {
    let Some((process, file)) = OWNER.get() else {
        return;
    };
    if *process != std::process::id() {
        return;
    }
    super::pace::end();
    let mut state = state();
    if state.over {
        return;
    }
    state.over = true;
    let (state, waited) = CHANGED
        .wait_timeout_while(state, LAST_MOVE, |state| state.moving)
        .unwrap_or_else(PoisonError::into_inner);
    if waited.timed_out() {
        log::error!("the program exits in the middle of a move");
    }
    let counts = state.counts;
    drop(state);
    log::info!("stress: {counts}");
    drop(ROOM.lock().unwrap_or_else(PoisonError::into_inner).take());
    if let Some(file) = file
        && let Err(error) = std::fs::write(file, format!("{counts}\n"))
    {
        log::warn!("{}: {error}", file.display());
    }
}

/// A move in progress: an exit of the program waits for it.
pub(super) struct Moving(());

impl Moving {
    /// `None` once the program exits.
    pub(super) fn start() -> Option<Moving> {
        let mut state = state();
        if state.over {
            return None;
        }
        state.moving = true;
        Some(Moving(()))
    }

    /// Ends it and counts.
    pub(super) fn end(self, count: impl FnOnce(&mut Counts)) {
        register();
        let mut state = state();
        count(&mut state.counts);
        state.moving = false;
        CHANGED.notify_all();
    }
}
