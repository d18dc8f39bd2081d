//! Taking a capture's batches: several threads drain the slots that the guest fills.
//!
//! ```text
//!  this thread:  Data ──> jobs ──┬─> worker: copy to private memory, SlotFree ──> ring; parse the copy; sink
//!                                └─> worker: …
//! ```
//!
//! One thread copies and digests a few GB/s, a GPU sends an order of magnitude more. A slot has at most one job, so a
//! guest cannot make the queue long. Batches of one step reach the sink in any order, and all of them before the step
//! ends. A guest that sends a byte twice within a step, and not the same, sends it again in a later one.

use super::clock::Clock;
use super::error::HostError;
use super::wire::{LOOK, Limits, Sink, Tally, Wire, bounded, give, in_turn, plausible};
use crate::image::{Batch, EXTENT_BYTES};
use crate::layout::Layout;
use crate::link::Link;
use crate::message::{ToGuest, ToHost};
use crate::port::{Incoming, Outgoing, PortError};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A slot that the guest has handed over, its figures in bounds.
#[derive(Clone, Copy)]
struct Job {
    slot: usize,
    payload: usize,
    extents: usize,
}

/// What all threads of a step see.
struct Pool<'a, L> {
    link: &'a L,
    layout: &'a Layout,
    limits: &'a Limits,
    sink: &'a dyn Sink,
    round: u32,
    out: Mutex<Outgoing<'a, L>>,
    /// By slot: it has not been given back yet.
    busy: Vec<AtomicBool>,
    error: Mutex<Option<HostError>>,
    /// An error has ended the step.
    over: AtomicBool,
    rest: Mutex<Rest>,
    /// Workers that wait for a job.
    idle: AtomicUsize,
    /// Private payload buffers that nobody uses now.
    buffers: &'a Mutex<Vec<Vec<u8>>>,
    patience: Duration,
}

/// Whether everything the guest sent has been taken, and since when.
struct Rest {
    jobs: usize,
    since: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<L: Link> Pool<'_, L> {
    fn work(&self, jobs: &Mutex<Receiver<Job>>) {
        let mut buffer = lock(self.buffers).pop().unwrap_or_default();
        buffer.resize(self.layout.payload_size(), 0);
        loop {
            // The lock is held while waiting: one worker waits for the next job, the others for the lock.
            self.idle.fetch_add(1, Ordering::AcqRel);
            let job = lock(jobs).recv();
            self.idle.fetch_sub(1, Ordering::AcqRel);
            let Ok(job) = job else { break };
            if let Err(e) = self.drain(job, &mut buffer) {
                self.over.store(true, Ordering::Release);
                lock(&self.error).get_or_insert(e);
            }
            let mut rest = lock(&self.rest);
            rest.jobs -= 1;
            rest.since = Instant::now();
        }
        lock(self.buffers).push(buffer);
    }

    fn drain(&self, job: Job, buffer: &mut [u8]) -> Result<(), HostError> {
        // After an error nobody needs the rest; the guest gets its slots back all the same.
        if self.over.load(Ordering::Acquire) {
            return self.give_back(job);
        }
        let memory = self.link.memory();
        let mut table = vec![0; job.extents * EXTENT_BYTES];
        let shared = self.layout.table(memory, job.slot);
        let shared = shared.slice(0, table.len());
        shared.expect("the count fits the table").read(&mut table);
        let payload = &mut buffer[..job.payload];
        let shared = self.layout.payload(memory, job.slot);
        let shared = shared.slice(0, job.payload);
        shared.expect("checked when it was sent").read(payload);
        self.give_back(job)?;
        let batch = Batch::parse(payload, &table, &self.limits.batch)?;
        self.sink
            .batch(self.round, &batch)
            .map_err(HostError::Store)
    }

    fn give_back(&self, job: Job) -> Result<(), HostError> {
        // Before the answer: the guest may send it again at once.
        self.busy[job.slot].store(false, Ordering::Release);
        let slot = job.slot as u64;
        let called_off = || self.sink.called_off().is_some();
        let free = ToGuest::SlotFree { slot };
        Ok(give(
            &self.out,
            free,
            self.patience,
            &self.over,
            called_off,
        )?)
    }

    /// An error of a worker's, or the sink's wish to end.
    fn check(&self) -> Result<(), HostError> {
        if let Some(e) = lock(&self.error).take() {
            return Err(e);
        }
        self.sink
            .called_off()
            .map_or(Ok(()), |reason| Err(HostError::Store(reason)))
    }

    /// The guest's next message. Only what it takes beyond our own work counts.
    fn recv(&self, incoming: &mut Incoming<'_, L>, clock: &mut Clock) -> Result<ToHost, HostError> {
        let mut limit = clock.next_wait()?;
        let mut silent = Duration::ZERO;
        loop {
            self.check()?;
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

/// What the guest may still send in this step.
struct Allowance {
    bytes: Tally,
    pieces: Tally,
}

impl Allowance {
    /// Checks a `Data` message.
    fn job<L: Link>(
        &mut self,
        pool: &Pool<'_, L>,
        slot: u64,
        payload: u64,
        extents: u64,
    ) -> Result<Job, HostError> {
        let job = Job {
            slot: bounded("slot", slot, 0, pool.layout.slots() - 1)?,
            payload: bounded("length", payload, 0, pool.layout.payload_size())?,
            extents: bounded("extent count", extents, 1, pool.layout.table_extents())?,
        };
        self.bytes.add(payload)?;
        self.pieces.add(extents)?;
        if pool.busy[job.slot].swap(true, Ordering::AcqRel) {
            let what = "slot (it has not been given back)";
            return Err(HostError::Outside { what, value: slot });
        }
        Ok(job)
    }
}

impl<L: Link> Wire<L> {
    /// A command that is answered by batches of `round`, then by `answer`.
    pub(super) fn receive<T>(
        &mut self,
        command: ToGuest,
        allowance: Duration,
        round: u32,
        sink: &dyn Sink,
        answer: impl Fn(ToHost) -> Option<T>,
    ) -> Result<T, HostError> {
        let mut clock = self.command(command, allowance)?;
        let limit = self.limits.round_bytes;
        let mut allowed = Allowance {
            bytes: Tally::new("bytes", limit),
            pieces: Tally::new("extents", Limits::pieces(limit)),
        };
        let (ended, lost) = self.side_by_side(sink, round, |pool, incoming, put| {
            loop {
                match pool.recv(incoming, &mut clock)? {
                    ToHost::Data {
                        slot,
                        round: r,
                        payload,
                        extents,
                    } if r == u64::from(round) => {
                        let job = allowed.job(pool, slot, payload, extents)?;
                        clock.moved(payload);
                        put(job);
                    }
                    end => return Ok(end),
                }
            }
        });
        let ended = match ended {
            // Its slot has to go back, whatever else has happened.
            Ok(ToHost::Failed { slot, len }) => Err(self.failure(&mut clock, slot, len)?),
            Ok(other) => Ok(other),
            Err(e) => Err(e),
        };
        match (ended, lost) {
            // A guest that takes nothing back would not take a command either.
            (Err(HostError::Store(_)), Some(e)) if e.ends_the_link() => Err(e),
            (Err(e @ HostError::Store(_)), _) | (_, Some(e @ HostError::Store(_))) => {
                self.cut_short = Some(clock.allowance());
                Err(e)
            }
            (_, Some(e)) | (Err(e), None) => Err(e),
            (Ok(other), None) => in_turn(command, other, answer),
        }
    }

    /// Runs `step` beside the workers. When it returns, every slot that the guest has sent is its own again, and the
    /// sink has all batches, unless there was an error: the step's own, or that of a worker whose batch is lost.
    fn side_by_side(
        &mut self,
        sink: &dyn Sink,
        round: u32,
        step: impl FnOnce(
            &Pool<'_, L>,
            &mut Incoming<'_, L>,
            &mut dyn FnMut(Job),
        ) -> Result<ToHost, HostError>,
    ) -> (Result<ToHost, HostError>, Option<HostError>) {
        let patience = self.patience.silence;
        let (link, layout, out, mut incoming) = self.port.apart();
        let slots = layout.slots();
        let pool = Pool {
            link,
            layout,
            limits: &self.limits,
            sink,
            round,
            out: Mutex::new(out),
            busy: (0..slots).map(|_| AtomicBool::new(false)).collect(),
            error: Mutex::new(None),
            over: AtomicBool::new(false),
            rest: Mutex::new(Rest {
                jobs: 0,
                since: Instant::now(),
            }),
            idle: AtomicUsize::new(0),
            buffers: &self.buffers,
            patience,
        };
        let most = sink.workers().clamp(1, slots);
        let (sender, receiver): (SyncSender<Job>, _) = sync_channel(slots);
        let receiver = Mutex::new(receiver);
        let ended = std::thread::scope(|scope| {
            let mut workers = 0;
            // As many as there is work for: a small round starts one.
            let mut put = |job| {
                lock(&pool.rest).jobs += 1;
                if workers < most && pool.idle.load(Ordering::Acquire) == 0 {
                    workers += 1;
                    scope.spawn(|| pool.work(&receiver));
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
}
