//! Shares work out to a few threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::error::RamError;

/// How often the calling thread looks after the others.
const TICK: Duration = Duration::from_millis(100);

/// As many threads as asked for, and as the machine has processors.
pub fn threads(asked: u32) -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    asked.clamp(1, processors)
}

/// Has `threads` threads do `work` with each item; each makes its own tool with `start`. Meanwhile the calling thread asks
/// `look` every [`TICK`] whether to go on.
///
/// # Errors
/// The first one of any thread, or of `look`; items that are not being worked on then are left out.
pub fn share_out<T: Send, W>(
    threads: u32,
    items: impl Iterator<Item = T> + Send,
    start: impl Fn() -> Result<W, RamError> + Sync,
    work: impl Fn(&mut W, T) -> Result<(), RamError> + Sync,
    mut look: impl FnMut() -> Result<(), RamError>,
) -> Result<(), RamError> {
    let items = Mutex::new(items);
    let stop = AtomicBool::new(false);
    let next = || match stop.load(Ordering::Relaxed) {
        true => None,
        false => items.lock().unwrap_or_else(|e| e.into_inner()).next(),
    };
    let labour = || {
        let mut tool = start()?;
        while let Some(item) = next() {
            work(&mut tool, item)?;
        }
        Ok(())
    };
    let (done, results) = channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (done, labour) = (done.clone(), &labour);
            scope.spawn(move || {
                // A panic ends in `scope`, and that in the plugin's entry.
                let _ = done.send(labour());
            });
        }
        drop(done);
        let mut outcome = Ok(());
        loop {
            let result = match results.recv_timeout(TICK) {
                Ok(result) => result,
                Err(RecvTimeoutError::Timeout) => look(),
                Err(RecvTimeoutError::Disconnected) => return outcome,
            };
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
                outcome = outcome.and(result);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn every_item_is_worked_on_once() {
        let sum = AtomicUsize::new(0);
        let work = |_: &mut (), item: usize| {
            sum.fetch_add(item, Ordering::Relaxed);
            Ok(())
        };
        share_out(3, 1..=1000, || Ok(()), work, || Ok(())).unwrap();
        assert_eq!(sum.into_inner(), 500_500);
    }

    #[test]
    fn the_first_error_ends_it() {
        let work = |_: &mut (), item: usize| match item {
            5 => Err(RamError::Bitmaps(5)),
            _ => Ok(()),
        };
        let endless = 0..;
        let error = share_out(2, endless, || Ok(()), work, || Ok(())).unwrap_err();
        assert!(matches!(error, RamError::Bitmaps(5)));
    }

    #[test]
    fn a_cancel_ends_it() {
        let look = || Err(RamError::Cancelled);
        let error = share_out(2, 0u64.., || Ok(()), |_, _| Ok(()), look).unwrap_err();
        assert!(matches!(error, RamError::Cancelled));
    }
}
