//! Where captured batches go.

use crate::BoxError;
use crate::image::Batch;
use std::sync::{Mutex, PoisonError};

/// Most threads that drain slots, unless a sink says otherwise: what it takes to keep up with a PCIe 5 x16 GPU.
const MAX_WORKERS: usize = 16;

/// Where captured batches go; several threads bring them at once.
pub trait Sink: Sync {
    /// How many threads may. With one, batches come in the order in which they were sent.
    fn workers(&self) -> usize {
        workers_each(1)
    }
    /// Why the step is to end now, if it is; asked often, also while the guest says nothing.
    fn called_off(&self) -> Option<BoxError> {
        None
    }
    /// Takes one validated batch of round `round`; an error is for the operator and ends the step.
    fn batch(&self, round: u32, batch: &Batch<'_>) -> Result<(), BoxError>;
}

/// Threads for each of `sessions` that are captured at the same time: at least one, and in all no more than the machine
/// has use for. Each has a buffer of a slot's size.
pub fn workers_each(sessions: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores.min(MAX_WORKERS) / sessions.max(1)).max(1)
}

/// A sink of one thread: see [`one_by_one`].
pub trait SerialSink: Send {
    /// As [`Sink::batch`].
    fn batch(&mut self, round: u32, batch: &Batch<'_>) -> Result<(), BoxError>;
}

/// A [`SerialSink`] as a [`Sink`]: batches come one after the other, in the order in which they were sent.
pub fn one_by_one<S: SerialSink>(sink: &mut S) -> impl Sink + '_ {
    struct OneByOne<'a, S>(Mutex<&'a mut S>);
    impl<S: SerialSink> Sink for OneByOne<'_, S> {
        fn workers(&self) -> usize {
            1
        }

        fn batch(&self, round: u32, batch: &Batch<'_>) -> Result<(), BoxError> {
            let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sink.batch(round, batch)
        }
    }
    OneByOne(Mutex::new(sink))
}
