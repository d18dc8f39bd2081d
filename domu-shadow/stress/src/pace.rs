//! When to move.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::gate::{self, Pass};

/// Calls that entered the gate; counted only where moves goes by calls.
static CALLS: AtomicU64 = AtomicU64::new(0);
/// [`Pace::Calls`]' number; 0 without it.
static EVERY: AtomicU64 = AtomicU64::new(0);
static TURN: Mutex<Turn> = Mutex::new(Turn {
    due: false,
    over: false,
});
static CHANGED: Condvar = Condvar::new();

/// How long a call waits for its move at most: a driver may have the session wait for what the program does next.
const LONGEST: Duration = Duration::from_secs(30);

thread_local! {
    static IS_MOVERS: Cell<bool> = const { Cell::new(false) };
}

/// Calls of this thread are not the program's: moves come at the same calls each time.
pub(super) fn count_none_here() {
    IS_MOVERS.set(true);
}

/// Whose turn it is: a move's, for which the call that made it due waits, or the program's.
struct Turn {
    due: bool,
    over: bool,
}

fn turn() -> MutexGuard<'static, Turn> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// This long after the last move.
    Every(Duration),
    /// At every call whose number this divides, 1 or more.
    Calls(u64),
}

/// What is wrong with `XL_GPU_STORM`.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoStress {
    #[error("{0:?} is not \"ms=T\" or \"calls=N\"")]
    Item(String),
    #[error("{0:?} is not a number")]
    Number(String),
    #[error("calls=0 is no pace")]
    Never,
    #[error("{0:?} is none of ms, calls, drain-ms")]
    Key(String),
    #[error("more than one of ms= and calls=")]
    Twice,
    #[error("neither ms= nor calls=")]
    Nothing,
}

/// What `XL_GPU_STORM` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stress {
    pub(super) pace: Pace,
    /// How long the program may take to come to rest.
    pub(super) drain: Duration,
}

impl Stress {
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn parse(text: &str) -> Result<Stress, NoStress> {
        let (mut pace, mut drain) = (None, Duration::from_secs(10));
        for item in text.split(',').map(str::trim) {
            let (key, value) = item
                .split_once('=')
                .ok_or_else(|| NoStress::Item(item.to_owned()))?;
            let number: u64 = value
                .parse()
                .map_err(|_| NoStress::Number(value.to_owned()))?;
            let again = match key {
                "ms" => pace.replace(Pace::Every(Duration::from_millis(number))),
                "calls" if number == 0 => return Err(NoStress::Never),
                "calls" => pace.replace(Pace::Calls(number)),
                "drain-ms" => {
                    drain = Duration::from_millis(number);
                    None
                }
                _ => return Err(NoStress::Key(key.to_owned())),
            };
            if again.is_some() {
                return Err(NoStress::Twice);
            }
        }
        let pace = pace.ok_or(NoStress::Nothing)?;
        Ok(Stress { pace, drain })
    }
}

impl Pace {
    /// Has calls counted from now on, where the pace needs it.
    pub(super) fn begin(self) {
        if let Pace::Calls(number) = self {
            EVERY.store(number, Ordering::SeqCst);
            gate::count_calls(called);
        }
    }

    /// Sleeps until it is time for the next move.
    pub(super) fn wait(self) {
        match self {
            Pace::Every(time) => std::thread::sleep(time),
            Pace::Calls(_) => {
                let asleep = |turn: &mut Turn| !turn.due && !turn.over;
                drop(CHANGED.wait_while(turn(), asleep));
            }
        }
    }
}

/// Lets the call go on that waits for a move.
pub(super) fn moved() {
    turn().due = false;
    CHANGED.notify_all();
}

/// No call waits any more: the program exits.
pub(super) fn end() {
    turn().over = true;
    CHANGED.notify_all();
}

/// Counts a call; one that makes a move due waits for its end, unless moves need this call. The gate calls it for each
/// call once [`Pace::Calls`] has asked for it; the thread must not count as inside.
fn called(pass: Pass) {
    if IS_MOVERS.get() {
        return;
    }
    let every = EVERY.load(Ordering::SeqCst);
    let number = CALLS.fetch_add(1, Ordering::SeqCst) + 1;
    if !number.is_multiple_of(every) {
        return;
    }
    let mut turn = turn();
    turn.due = true;
    CHANGED.notify_all();
    if pass == Pass::Normal {
        let waits = |turn: &mut Turn| turn.due && !turn.over;
        let (mut turn, waited) = CHANGED
            .wait_timeout_while(turn, LONGEST, waits)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            log::warn!("stress: call {number} goes on before its move");
            turn.due = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paces_and_names_what_it_does_not_understand() {
        let stress = Stress::parse("ms=50").unwrap();
        assert_eq!(stress.pace, Pace::Every(Duration::from_millis(50)));
        let stress = Stress::parse("calls=200, drain-ms=30").unwrap();
        assert_eq!(stress.pace, Pace::Calls(200));
        assert_eq!(stress.drain, Duration::from_millis(30));
        for wrong in [
            "",
            "50",
            "ms=",
            "ms=-1",
            "calls=0",
            "drain-ms=5",
            "ms=1,calls=2",
            "s=1",
        ] {
            assert!(Stress::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
