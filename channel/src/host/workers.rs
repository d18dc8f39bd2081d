//! Threads that work on slots while one receives the guest's messages.
//!
//! ```text
//!  this thread:  message ──> jobs ──┬─> worker: shared pages <──> private memory, answer ──> ring
//!                                   └─> worker: …
//! ```
//!
//! One thread copies a few GB/s, a GPU an order of magnitude more. Answers go out in the order in which jobs are done.
//! A slot has at most one job, so a guest cannot make the queue long.

use super::clock::Clock;
use super::error::HostError;
use super::limits::{bounded, plausible};
use crate::layout::Layout;
use crate::link::Link;
use crate::message::{ToGuest, ToHost};
use crate::port::{Incoming, Outgoing, Port, PortError};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a thread that waits for the guest looks whether the step is over or has been called off.
const LOOK: Duration = Duration::from_millis(50);

/// Private buffers of workers, kept between steps.
pub(super) type Buffers = Mutex<Vec<Vec<u8>>>;

/// What all threads of a step see.
pub(super) struct Pool<'a, L> {
    pub(super) link: &'a L,
    pub(super) layout: &'a Layout,
    out: Mutex<Outgoing<'a, L>>,
    /// By slot: it has a job.
    busy: Vec<AtomicBool>,
    error: Mutex<Option<HostError>>,
    /// An error has ended the step.
    over: AtomicBool,
    rest: Mutex<Rest>,
    /// Workers that wait for a job.
    idle: AtomicUsize,
    buffers: &'a Buffers,
    patience: Duration,
    called_off: &'a (dyn Fn() -> Result<(), HostError> + Sync),
}

/// Whether everything the guest sent has been worked on, and since when.
struct Rest {
    jobs: usize,
    since: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `step` beside up to `most` threads, which `work` on the jobs that it puts. All jobs are done when this returns.
/// `called_off` is asked often; its error ends the step.
///
/// Returns the step's result, and the first error of a worker: its job is lost.
pub(super) fn side_by_side<L: Link, J: Send, T>(
    port: &mut Port<L>,
    buffers: &Buffers,
    patience: Duration,
    most: usize,
    called_off: &(dyn Fn() -> Result<(), HostError> + Sync),
    work: impl Fn(&Pool<'_, L>, J, &mut Vec<u8>) -> Result<(), HostError> + Sync,
    step: impl FnOnce(&Pool<'_, L>, &mut Incoming<'_, L>, &mut dyn FnMut(J)) -> Result<T, HostError>,
) -> (Result<T, HostError>, Option<HostError>) {
    let (link, layout, out, mut incoming) = port.apart();
    let slots = layout.slots();
    let pool = Pool {
        link,
        layout,
        out: Mutex::new(out),
        busy: (0..slots).map(|_| AtomicBool::new(false)).collect(),
        error: Mutex::new(None),
        over: AtomicBool::new(false),
        rest: Mutex::new(Rest {
            jobs: 0,
            since: Instant::now(),
        }),
        idle: AtomicUsize::new(0),
        buffers,
        patience,
        called_off,
    };
    let most = most.clamp(1, slots);
    let (sender, receiver) = sync_channel(slots);
    let receiver = Mutex::new(receiver);
    let ended = std::thread::scope(|scope| {
        let mut workers = 0;
        // As many as there is work for: a small step starts one.
        let mut put = |job| {
            lock(&pool.rest).jobs += 1;
            if workers < most && pool.idle.load(Ordering::Acquire) == 0 {
                workers += 1;
                scope.spawn(|| pool.work_on(&receiver, &work));
            }
            sender.send(job).expect("its receiver outlives this scope");
        };
        let ended = step(&pool, &mut incoming, &mut put);
        if ended.is_err() {
            pool.over.store(true, Ordering::Release);
        }
        drop(sender);
        ended
    });
    let lost = pool.error.into_inner();
    (ended, lost.unwrap_or_else(PoisonError::into_inner))
}

impl<L: Link> Pool<'_, L> {
    fn work_on<J>(
        &self,
        jobs: &Mutex<Receiver<J>>,
        work: &impl Fn(&Self, J, &mut Vec<u8>) -> Result<(), HostError>,
    ) {
        let mut buffer = lock(self.buffers).pop().unwrap_or_default();
        loop {
            // The lock is held while waiting: one worker waits for the next job, the others for the lock.
            self.idle.fetch_add(1, Ordering::AcqRel);
            let job = lock(jobs).recv();
            self.idle.fetch_sub(1, Ordering::AcqRel);
            let Ok(job) = job else { break };
            if let Err(e) = work(self, job, &mut buffer) {
                self.over.store(true, Ordering::Release);
                lock(&self.error).get_or_insert(e);
            }
            let mut rest = lock(&self.rest);
            rest.jobs -= 1;
            rest.since = Instant::now();
        }
        lock(self.buffers).push(buffer);
    }

    /// An error has ended the step: nobody needs the rest.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Takes the slot for a job. Where it has one already, the guest is at fault: `why` describes it.
    pub(super) fn claim(&self, slot: u64, why: &'static str) -> Result<usize, HostError> {
        let index = bounded("slot", slot, 0, self.layout.slots() - 1)?;
        match self.busy[index].swap(true, Ordering::AcqRel) {
            false => Ok(index),
            true => Err(HostError::Outside {
                what: why,
                value: slot,
            }),
        }
    }

    /// Gives a slot back with `answer`. If the guest makes no room in the ring in time, or the step is called off
    /// meanwhile, the step is over, and nobody waits for room any more.
    pub(super) fn give_back(&self, slot: usize, answer: ToGuest) -> Result<(), HostError> {
        // Before the answer: the guest may hand it over again at once.
        self.busy[slot].store(false, Ordering::Release);
        let mut out = lock(&self.out);
        let begun = Instant::now();
        loop {
            let wait = match self.is_over() || (self.called_off)().is_err() {
                true => Duration::ZERO,
                false => self.patience.saturating_sub(begun.elapsed()).min(LOOK),
            };
            match out.send_to_guest(answer, wait) {
                Err(PortError::Silent(_)) if !wait.is_zero() => {}
                Ok(()) => return Ok(()),
                Err(e) => {
                    // Before another thread has the ring: it would wait as long again.
                    self.over.store(true, Ordering::Release);
                    return Err(match e {
                        PortError::Silent(_) => PortError::Silent(begun.elapsed()).into(),
                        e => e.into(),
                    });
                }
            }
        }
    }

    /// The guest's next message. Time in which our own workers are busy does not count as the guest's silence.
    pub(super) fn recv(
        &self,
        incoming: &mut Incoming<'_, L>,
        clock: &mut Clock,
    ) -> Result<ToHost, HostError> {
        let mut limit = clock.next_wait()?;
        let mut silent = Duration::ZERO;
        loop {
            if let Some(e) = lock(&self.error).take() {
                return Err(e);
            }
            (self.called_off)()?;
            let start = Instant::now();
            let message = incoming.recv_from_guest(LOOK.min(limit.saturating_sub(silent)));
            let rest = lock(&self.rest);
            if rest.jobs == 0 {
                silent += start.max(rest.since).elapsed();
            }
            drop(rest);
            match message {
                Ok(ToHost::Busy {}) => {
                    clock.waited(std::mem::take(&mut silent));
                    clock.busy();
                    limit = clock.next_wait()?;
                }
                Ok(message) => {
                    clock.waited(silent);
                    return plausible(message);
                }
                Err(PortError::Silent(_)) if silent < limit => {}
                Err(PortError::Silent(_)) => return Err(PortError::Silent(limit).into()),
                Err(e) => return Err(e.into()),
            }
        }
    }
}
