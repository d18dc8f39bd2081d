//! One thread for each of a few items.

use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, ScopedJoinHandle, scope};

enum Step<'s, T> {
    Running(ScopedJoinHandle<'s, T>),
    Done(T),
}

/// Runs `step` on all items at the same time; results in their order. Where a thread cannot be had, the item's turn comes on
/// this one: nothing is lost with a thread that did not start.
pub fn in_parallel<I: IntoIterator, T: Send>(items: I, step: impl Fn(I::Item) -> T + Sync) -> Vec<T>
where
    I::Item: Send,
{
    let items: Vec<_> = items.into_iter().map(|i| Mutex::new(Some(i))).collect();
    let step = |item: &Mutex<Option<I::Item>>| {
        let item = item.lock().unwrap_or_else(PoisonError::into_inner).take();
        step(item.expect("taken once"))
    };
    scope(|scope| {
        let start = |item| match Builder::new().spawn_scoped(scope, move || step(item)) {
            Ok(thread) => Step::Running(thread),
            Err(_) => Step::Done(step(item)),
        };
        let steps: Vec<_> = items.iter().map(start).collect();
        let end = |step| match step {
            Step::Done(result) => result,
            Step::Running(thread) => match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            },
        };
        steps.into_iter().map(end).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_items() {
        let items: Vec<Box<u32>> = (0..9).map(Box::new).collect();
        let doubled = in_parallel(items, |item| *item * 2);
        assert!(doubled.into_iter().eq((0..9).map(|n| n * 2)));
    }
}
