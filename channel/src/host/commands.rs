//! The conversation under dom0's states: commands out, answers in. Batches: [`super::capture`]; fetches:
//! [`super::restore`].

use super::clock::{Clock, HostTimeouts};
use super::error::{HostError, printable};
use super::limits::{StepLimits, Tally, bounded, plausible};
use super::workers::Buffers;
use crate::link::Link;
use crate::message::{ToGuest, ToHost};
use crate::port::Port;
use std::time::{Duration, Instant};

/// Longest text of a failure that is kept, in characters.
const FAILURE_TEXT: usize = 2000;

/// A port with its limits.
pub(super) struct Commander<L> {
    pub(super) port: Port<L>,
    pub(super) timeouts: HostTimeouts,
    pub(super) limits: StepLimits,
    payload: Vec<u8>,
    pub(super) buffers: Buffers,
    /// A step was cut short: its answer may still come, after a silence of up to this much beyond the usual.
    pub(super) cut_short: Option<Duration>,
}

impl<L: Link> Commander<L> {
    pub(super) fn boxed(port: Port<L>, limits: StepLimits, timeouts: HostTimeouts) -> Box<Self> {
        let payload = vec![0; port.layout().payload_size()];
        Box::new(Commander {
            port,
            timeouts,
            limits,
            payload,
            buffers: Buffers::default(),
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
        let mut clock = Clock::start(self.timeouts, allowance);
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
        let mut clock = Clock::start(self.timeouts, self.cut_short.unwrap_or_default());
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
