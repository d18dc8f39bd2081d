//! One thread for each of a few items.

/// Runs `step` on all items at the same time; results in their order.
pub fn in_parallel<I: IntoIterator, T: Send>(items: I, step: impl Fn(I::Item) -> T + Sync) -> Vec<T>
where
    I::Item: Send,
{
    let step = &step;
    std::thread::scope(|scope| {
        let threads: Vec<_> = items
            .into_iter()
            .map(|item| scope.spawn(move || step(item)))
            .collect();
        threads
            .into_iter()
            .map(|t| {
                t.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}
