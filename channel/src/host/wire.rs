//! The conversation under dom0's states: commands out, answers in. Batches: [`super::draining`]; fetches:
//! [`super::serving`].

use super::clock::{Clock, Patience};
use super::error::{HostError, printable};
use crate::PAGE_SIZE;
use crate::image::Batch;
use crate::link::Link;
use crate::message::{ToGuest, ToHost};
use crate::port::{Outgoing, Port, PortError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest text of a failure that is kept, in characters.
const FAILURE_TEXT: usize = 2000;
/// Largest count of bytes, buffers or libraries that a guest may claim: sums of such claims stay in a u64.
const MAX_CLAIM: u64 = 1 << 56;
/// Longest time that a part of one step may have taken, in nanoseconds: a day, longer than dom0 waits for any.
const MAX_TIME: u64 = 24 * 3600 * 1_000_000_000;
/// Most threads that drain slots, unless a sink says otherwise: what it takes to keep up with a PCIe 5 x16 GPU.
const MAX_WORKERS: usize = 16;

/// How often a thread that waits for the guest looks whether the step is over or has been called off.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// What one step may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Payload bytes a guest may send in one round; a restore may fetch twice as many.
    pub round_bytes: u64,
    /// Bounds of one batch.
    pub batch: crate::image::Limits,
}

impl Limits {
    /// Extents of a round, or fetches of a restore, for `bytes` bytes: honest ones stand for 4 KiB or more,
    /// small buffers get some slack.
    pub(super) fn pieces(bytes: u64) -> u64 {
        bytes / PAGE_SIZE as u64 + (1 << 20)
    }
}

/// Where captured batches go; several threads bring them at once.
pub trait Sink: Sync {
    /// How many threads may. With one, batches come in the order in which they were sent.
    fn workers(&self) -> usize {
        workers_each(1)
    }
    /// Why the step is to end now, if it is; asked often, also while the guest says nothing.
    fn called_off(&self) -> Option<String> {
        None
    }
    /// Takes one validated batch of round `round`; an error is for the operator and ends the step.
    fn batch(&self, round: u32, batch: &Batch<'_>) -> Result<(), String>;
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
    fn batch(&mut self, round: u32, batch: &Batch<'_>) -> Result<(), String>;
}

/// A [`SerialSink`] as a [`Sink`]: batches come one after the other, in the order in which they were sent.
pub fn one_by_one<S: SerialSink>(sink: &mut S) -> impl Sink + '_ {
    struct OneByOne<'a, S>(Mutex<&'a mut S>);
    impl<S: SerialSink> Sink for OneByOne<'_, S> {
        fn workers(&self) -> usize {
            1
        }

        fn batch(&self, round: u32, batch: &Batch<'_>) -> Result<(), String> {
            let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sink.batch(round, batch)
        }
    }
    OneByOne(Mutex::new(sink))
}

/// A port with its limits.
pub(super) struct Wire<L> {
    pub(super) port: Port<L>,
    pub(super) patience: Patience,
    pub(super) limits: Limits,
    payload: Vec<u8>,
    /// Private buffers of threads that drain slots, between steps.
    pub(super) buffers: Mutex<Vec<Vec<u8>>>,
    /// A step was cut short: its answer may still come, after a silence of up to this much beyond the usual.
    pub(super) cut_short: Option<Duration>,
}

/// What has come in a step so far.
pub(super) struct Tally {
    what: &'static str,
    count: u64,
    limit: u64,
}

impl Tally {
    pub(super) fn new(what: &'static str, limit: u64) -> Tally {
        let count = 0;
        Tally { what, count, limit }
    }

    pub(super) fn add(&mut self, n: u64) -> Result<(), HostError> {
        self.count = self.count.saturating_add(n);
        if self.count <= self.limit {
            return Ok(());
        }
        Err(HostError::TooMuch {
            what: self.what,
            limit: self.limit,
        })
    }
}

impl<L: Link> Wire<L> {
    pub(super) fn boxed(port: Port<L>, limits: Limits, patience: Patience) -> Box<Self> {
        let payload = vec![0; port.layout().payload_size()];
        Box::new(Wire {
            port,
            patience,
            limits,
            payload,
            buffers: Mutex::default(),
            cut_short: None,
        })
    }

    fn send(&mut self, clock: &mut Clock, message: ToGuest) -> Result<(), HostError> {
        let (start, limit) = (Instant::now(), clock.next_wait()?);
        let sent = self.port.send_to_guest(message, limit);
        clock.waited(start.elapsed());
        Ok(sent?)
    }

    fn recv(&mut self, clock: &mut Clock) -> Result<ToHost, HostError> {
        loop {
            let (start, limit) = (Instant::now(), clock.next_wait()?);
            let message = self.port.recv_from_guest(limit);
            clock.waited(start.elapsed());
            match message? {
                ToHost::Busy {} => clock.busy(),
                message => return plausible(message),
            }
        }
    }

    fn slot(&self, slot: u64) -> Result<usize, HostError> {
        bounded("slot", slot, 0, self.port.layout().slots() - 1)
    }

    /// A length of at most the private payload buffer.
    fn len(&self, len: u64, least: usize) -> Result<usize, HostError> {
        bounded("length", len, least, self.payload.len())
    }

    /// Copies `len` bytes of a slot's payload to private memory.
    fn take(&mut self, slot: usize, len: usize) -> &[u8] {
        let shared = self.port.layout().payload(self.port.link().memory(), slot);
        let private = &mut self.payload[..len];
        let shared = shared.slice(0, len).expect("len() checked it");
        shared.read(private);
        private
    }

    pub(super) fn failure(
        &mut self,
        clock: &mut Clock,
        slot: u64,
        len: u64,
    ) -> Result<HostError, HostError> {
        let (index, len) = (self.slot(slot)?, self.len(len, 0)?);
        let text = printable(
            &String::from_utf8_lossy(self.take(index, len)),
            FAILURE_TEXT,
        );
        self.send(clock, ToGuest::SlotFree { slot })?;
        Ok(HostError::Refused(text))
    }

    /// Gives a command, unless the guest is still at an earlier one.
    pub(super) fn command(
        &mut self,
        command: ToGuest,
        allowance: Duration,
    ) -> Result<Clock, HostError> {
        if self.cut_short.is_some() {
            return Err(HostError::CutShort(command));
        }
        let mut clock = Clock::start(self.patience, allowance);
        self.send(&mut clock, command)?;
        Ok(clock)
    }

    /// A command whose answer comes alone.
    pub(super) fn ask<T>(
        &mut self,
        command: ToGuest,
        allowance: Duration,
        answer: impl Fn(ToHost) -> Option<T>,
    ) -> Result<T, HostError> {
        let mut clock = self.command(command, allowance)?;
        match self.recv(&mut clock)? {
            ToHost::Failed { slot, len } => Err(self.failure(&mut clock, slot, len)?),
            other => in_turn(command, other, answer),
        }
    }

    /// Gives a capture up: what is still in flight of it is dropped. Nanoseconds of blackout.
    pub(super) fn resume(&mut self) -> Result<u64, HostError> {
        let command = ToGuest::Resume {};
        let mut clock = Clock::start(self.patience, self.cut_short.unwrap_or_default());
        self.send(&mut clock, command)?;
        // Of the step that was cut short: each slot once, as none comes back before the guest has read this
        // command, and then its answer.
        let mut batches = Tally::new(
            "batches of an ended capture",
            self.port.layout().slots() as u64,
        );
        loop {
            match self.recv(&mut clock)? {
                ToHost::Resumed { blackout_ns } => {
                    self.cut_short = None;
                    return Ok(blackout_ns);
                }
                ToHost::Data { slot, .. } if self.cut_short.is_some() => {
                    batches.add(1)?;
                    self.slot(slot)?;
                    self.send(&mut clock, ToGuest::SlotFree { slot })?;
                }
                ToHost::RoundDone { .. } | ToHost::Stopped { .. } if self.cut_short.is_some() => {
                    self.cut_short = None;
                }
                ToHost::Failed { slot, len } => {
                    let error = self.failure(&mut clock, slot, len)?;
                    if self.cut_short.take().is_none() {
                        return Err(error);
                    }
                    log::debug!("the step that was given up: {error}");
                }
                other => {
                    return in_turn(command, other, |_| None);
                }
            }
        }
    }
}

pub(super) fn bounded(
    what: &'static str,
    value: u64,
    least: usize,
    most: usize,
) -> Result<usize, HostError> {
    usize::try_from(value)
        .ok()
        .filter(|v| (least..=most).contains(v))
        .ok_or(HostError::Outside { what, value })
}

/// Figures that a guest tells are claims; those no machine has would overflow the sums made of them, or spoil what is
/// expected of the next step. How long a program has been held is not among them: a saved domain may rest for years.
pub(super) fn plausible(message: ToHost) -> Result<ToHost, HostError> {
    let times: &[(&'static str, u64)] = match message {
        ToHost::Stopped {
            drain_ns,
            copy_ns,
            compare_ns,
            ..
        } => &[
            ("drain time", drain_ns),
            ("copy time", copy_ns),
            ("comparison time", compare_ns),
        ],
        ToHost::Unloaded { unload_ns, .. } => &[("unload time", unload_ns)],
        ToHost::Opened { reload_ns, .. } => &[("reload time", reload_ns)],
        _ => &[],
    };
    if let Some(&(what, value)) = times.iter().find(|(_, value)| *value > MAX_TIME) {
        return Err(HostError::Outside { what, value });
    }
    let claims: &[(&'static str, u64)] = match message {
        ToHost::Begun { buffers, bytes } | ToHost::Stopped { buffers, bytes, .. } => {
            &[("buffer count", buffers), ("byte count", bytes)]
        }
        ToHost::RoundDone {
            bytes,
            dirty,
            whole,
            ..
        } => &[
            ("byte count", bytes),
            ("dirty bytes", dirty),
            ("bytes sent whole", whole),
        ],
        ToHost::Unloaded {
            libraries, devices, ..
        } => &[("library count", libraries), ("device count", devices)],
        ToHost::Restored { bytes, .. } => &[("byte count", bytes)],
        _ => &[],
    };
    match claims.iter().find(|(_, value)| *value > MAX_CLAIM) {
        Some(&(what, value)) => Err(HostError::Outside { what, value }),
        None => Ok(message),
    }
}

/// Gives a slot back, for one of several threads that share the ring. Where the guest makes no room for `patience`, or
/// until `called_off`, the step is `over`; then nobody waits for room any more.
pub(super) fn give<L: Link>(
    out: &Mutex<Outgoing<'_, L>>,
    message: ToGuest,
    patience: Duration,
    over: &AtomicBool,
    called_off: impl Fn() -> bool,
) -> Result<(), PortError> {
    let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    loop {
        let wait = match over.load(Ordering::Acquire) || called_off() {
            true => Duration::ZERO,
            false => patience.saturating_sub(begun.elapsed()).min(LOOK),
        };
        match out.send_to_guest(message, wait) {
            Err(PortError::Silent(_)) if !wait.is_zero() => {}
            Ok(()) => return Ok(()),
            Err(e) => {
                // Before another thread has the ring: it would wait as long again.
                over.store(true, Ordering::Release);
                return Err(match e {
                    PortError::Silent(_) => PortError::Silent(begun.elapsed()),
                    e => e,
                });
            }
        }
    }
}

pub(super) fn in_turn<T>(
    command: ToGuest,
    message: ToHost,
    answer: impl Fn(ToHost) -> Option<T>,
) -> Result<T, HostError> {
    answer(message).ok_or(HostError::OutOfTurn {
        command,
        answer: message,
    })
}
