//! Serving a restore: several threads fill the slots that the guest asks for.
//!
//! ```text
//!  this thread:  Fetch ──> jobs ──┬─> worker: contents ──> slot, Filled ──> ring
//!                                 └─> worker: …
//! ```
//!
//! One thread copies at a few GB/s, a GPU takes an order of magnitude more. Answers go out in the order in which they
//! are ready; a slot has at most one job, so a guest cannot make the queue long.

use super::clock::Clock;
use super::error::HostError;
use super::wire::{LOOK, Limits, Tally, Wire, bounded, give, in_turn, plausible};
use crate::guest::{Opened, Restored};
use crate::layout::Layout;
use crate::link::Link;
use crate::memory::SharedBytes;
use crate::message::{ToGuest, ToHost};
use crate::port::{Incoming, Outgoing, PortError};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most threads that fill slots: what it takes to keep a PCIe 5 x16 GPU busy, at 4 to 5 GB/s each.
const WORKERS: usize = 12;

/// What a fetch got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// The bytes lie in the slot.
    Bytes,
    /// They are all zero; the slot is as it was.
    Zero,
}

/// Where restored contents come from; asked by several threads at once.
pub trait Source: Sync {
    /// Fills `to` from `object` at `offset`, all three as the guest wants: nothing about them has been checked. What is
    /// known to be zero need not be written. An error is for the operator and fails the fetch.
    fn read(&self, object: u64, offset: u64, to: SharedBytes<'_>) -> Result<Contents, String>;
}

#[derive(Clone, Copy)]
struct Job {
    /// Below the layout's number of slots.
    slot: usize,
    object: u64,
    offset: u64,
    len: usize,
}

/// What all threads of a step see.
struct Pool<'a, L> {
    link: &'a L,
    layout: &'a Layout,
    source: &'a dyn Source,
    out: Mutex<Outgoing<'a, L>>,
    /// By slot: it is being filled.
    busy: Vec<AtomicBool>,
    failed: AtomicU64,
    error: Mutex<Option<HostError>>,
    /// An error has ended the step.
    over: AtomicBool,
    rest: Mutex<Rest>,
    patience: Duration,
}

/// Whether the guest has everything that it asked for, and since when.
struct Rest {
    jobs: usize,
    since: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<L: Link> Pool<'_, L> {
    fn work(&self, jobs: &Mutex<Receiver<Job>>) {
        loop {
            // The lock is held while waiting: one worker waits for the next job, the others for the lock.
            let Ok(job) = lock(jobs).recv() else { return };
            // After an error nobody waits for the rest.
            if !self.over.load(Ordering::Acquire)
                && let Err(e) = self.fill(job)
            {
                self.over.store(true, Ordering::Release);
                lock(&self.error).get_or_insert(e);
            }
            let mut rest = lock(&self.rest);
            rest.jobs -= 1;
            rest.since = Instant::now();
        }
    }

    fn fill(&self, job: Job) -> Result<(), HostError> {
        let memory = self.link.memory();
        let payload = self.layout.payload(memory, job.slot).slice(0, job.len);
        let payload = payload.expect("no longer than a payload: checked when it was asked for");
        let (slot, len) = (job.slot as u64, job.len as u64);
        let reply = match self.source.read(job.object, job.offset, payload) {
            Ok(Contents::Bytes) => ToGuest::Filled { slot, len },
            Ok(Contents::Zero) => ToGuest::FilledZero { slot, len },
            Err(e) => {
                let Job { object, offset, .. } = job;
                log::error!("object {object}, {len} bytes at {offset}: {e}");
                // A guest gives up at the first; what it had asked for by then may fail as well.
                let limit = self.layout.slots() as u64;
                if self.failed.fetch_add(1, Ordering::Relaxed) >= limit {
                    let what = "fetches that fail";
                    return Err(HostError::TooMuch { what, limit });
                }
                ToGuest::FetchFailed { slot }
            }
        };
        // Before the answer: the guest may ask again at once.
        self.busy[job.slot].store(false, Ordering::Release);
        let called_off = || false;
        Ok(give(
            &self.out,
            reply,
            self.patience,
            &self.over,
            called_off,
        )?)
    }

    fn check(&self) -> Result<(), HostError> {
        lock(&self.error).take().map_or(Ok(()), Err)
    }

    /// The guest's next message. Only what it takes beyond our own work counts.
    fn recv(&self, incoming: &mut Incoming<'_, L>, clock: &mut Clock) -> Result<ToHost, HostError> {
        loop {
            self.check()?;
            let limit = clock.next_wait()?;
            let (start, at_work) = (Instant::now(), lock(&self.rest).jobs > 0);
            let slice = if at_work { limit.min(LOOK) } else { limit };
            let message = incoming.recv_from_guest(slice);
            let rest = lock(&self.rest);
            if rest.jobs == 0 {
                clock.waited(start.max(rest.since).elapsed());
            }
            drop(rest);
            match message {
                Ok(ToHost::Busy {}) => clock.busy(),
                Ok(message) => return plausible(message),
                Err(PortError::Silent(_)) if at_work => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// The step as far as it has come.
struct Step<'s> {
    command: ToGuest,
    opened: Option<Opened>,
    tell: &'s mut dyn FnMut(Opened),
    bytes: Tally,
    fetches: Tally,
}

impl Step<'_> {
    /// Takes messages until one ends the step.
    fn run<L: Link>(
        &mut self,
        pool: &Pool<'_, L>,
        incoming: &mut Incoming<'_, L>,
        clock: &mut Clock,
        jobs: &SyncSender<Job>,
    ) -> Result<ToHost, HostError> {
        loop {
            match pool.recv(incoming, clock)? {
                ToHost::Opened {
                    blackout_ns,
                    downtime_ns,
                    reload_ns,
                } if self.opened.is_none() => {
                    let opened = Opened {
                        blackout_ns,
                        downtime_ns,
                        reload_ns,
                    };
                    self.opened = Some(opened);
                    (self.tell)(opened);
                }
                ToHost::Fetch {
                    slot,
                    object,
                    offset,
                    len,
                } if self.opened.is_some() => {
                    let job = Job {
                        slot: bounded("slot", slot, 0, pool.layout.slots() - 1)?,
                        object,
                        offset,
                        len: bounded("length", len, 1, pool.layout.payload_size())?,
                    };
                    self.bytes.add(len)?;
                    self.fetches.add(1)?;
                    clock.moved(len);
                    if pool.busy[job.slot].swap(true, Ordering::AcqRel) {
                        let what = "slot (it is being filled)";
                        return Err(HostError::Outside { what, value: slot });
                    }
                    lock(&pool.rest).jobs += 1;
                    jobs.send(job).expect("its receiver outlives this loop");
                }
                end @ (ToHost::Restored { .. } | ToHost::Failed { .. }) => return Ok(end),
                other => return in_turn(self.command, other, |_| None),
            }
        }
    }
}

impl<L: Link> Wire<L> {
    /// Has image `generation` fetched: `opened` is called when the program runs, the result comes when it has
    /// everything.
    pub(super) fn serve(
        &mut self,
        generation: u64,
        source: &dyn Source,
        opened: &mut dyn FnMut(Opened),
    ) -> Result<Restored, HostError> {
        let command = ToGuest::Restore { generation };
        let mut clock = self.command(command, self.patience.long_work())?;
        let limit = self.limits.round_bytes.saturating_mul(2);
        let mut step = Step {
            command,
            opened: None,
            tell: opened,
            bytes: Tally::new("bytes fetched", limit),
            fetches: Tally::new("fetches", Limits::pieces(limit)),
        };
        let end = self.pooled(source, |pool, incoming, jobs| {
            step.run(pool, incoming, &mut clock, jobs)
        })?;
        match (end, step.opened) {
            (ToHost::Restored { bytes }, Some(opened)) => Ok(Restored {
                blackout_ns: opened.blackout_ns,
                downtime_ns: opened.downtime_ns,
                reload_ns: opened.reload_ns,
                bytes,
            }),
            (ToHost::Failed { slot, len }, _) => Err(self.failure(&mut clock, slot, len)?),
            (other, _) => in_turn(command, other, |_| None),
        }
    }

    /// Runs `step` beside the workers. When it returns, every fetch has been answered: a guest that gives up takes its
    /// slots back by those answers.
    fn pooled<T>(
        &mut self,
        source: &dyn Source,
        step: impl FnOnce(&Pool<'_, L>, &mut Incoming<'_, L>, &SyncSender<Job>) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        let patience = self.patience.silence;
        let (link, layout, out, mut incoming) = self.port.apart();
        let slots = layout.slots();
        let pool = Pool {
            link,
            layout,
            source,
            out: Mutex::new(out),
            busy: (0..slots).map(|_| AtomicBool::new(false)).collect(),
            failed: AtomicU64::new(0),
            error: Mutex::new(None),
            over: AtomicBool::new(false),
            rest: Mutex::new(Rest {
                jobs: 0,
                since: Instant::now(),
            }),
            patience,
        };
        let (sender, receiver) = sync_channel(slots);
        let receiver = Mutex::new(receiver);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let ended = std::thread::scope(|scope| {
            for _ in 0..cores.min(WORKERS).min(slots) {
                scope.spawn(|| pool.work(&receiver));
            }
            let ended = step(&pool, &mut incoming, &sender);
            if ended.is_err() {
                pool.over.store(true, Ordering::Release);
            }
            drop(sender);
            ended
        });
        pool.check()?;
        ended
    }
}
