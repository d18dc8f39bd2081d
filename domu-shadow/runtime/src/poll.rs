//! Waiting for the driver without falling silent towards dom0.
//!
//! The driver's own blocking calls may last long: a device with one worker (pocl on one processor) first ends the program's
//! kernel, or compiles one.

use std::time::{Duration, Instant};

/// How long a wait only yields: most transfers end within it.
const EAGER: Duration = Duration::from_micros(50);
/// How long the host naps between two looks.
pub const NAP: Duration = Duration::from_micros(20);

/// Waits until `done` says so; calls `alive` between two looks.
///
/// # Errors
/// What either says; a command may then still be under way.
pub fn until<E>(
    mut done: impl FnMut() -> Result<bool, E>,
    mut alive: impl FnMut() -> Result<(), E>,
) -> Result<(), E> {
    let begun = Instant::now();
    while !done()? {
        alive()?;
        if begun.elapsed() < EAGER {
            std::thread::yield_now();
        } else {
            std::thread::sleep(NAP);
        }
    }
    Ok(())
}

/// Asks `is_done` until it says yes, ever less often; false when `deadline` passes first.
pub fn by_deadline(deadline: Instant, is_done: impl Fn() -> bool) -> bool {
    const LONGEST: Duration = Duration::from_millis(1);
    let mut pause = Duration::from_micros(10);
    loop {
        if is_done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_is_never_silent_and_ends_with_the_first_error() {
        let (mut looks, mut signs) = (0, 0);
        let ended = until::<()>(
            || {
                looks += 1;
                Ok(looks > 9)
            },
            || {
                signs += 1;
                Ok(())
            },
        );
        assert_eq!((ended, looks, signs), (Ok(()), 10, 9));
        assert_eq!(until(|| Err("device lost"), || Ok(())), Err("device lost"));
        assert_eq!(until(|| Ok(false), || Err("called off")), Err("called off"));
    }
}
