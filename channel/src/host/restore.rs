//! Serving a restore: workers fill the slots that the guest asks for.

use super::clock::Clock;
use super::commands::{Commander, in_turn};
use super::error::HostError;
use super::limits::{StepLimits, Tally, bounded};
use super::workers::{Pool, side_by_side};
use crate::BoxError;
use crate::answers::{Opened, Restored};
use crate::link::Link;
use crate::memory::SharedBytes;
use crate::message::{ToGuest, ToHost};
use crate::port::Incoming;
use std::sync::atomic::{AtomicU64, Ordering};

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
    fn read(&self, object: u64, offset: u64, to: SharedBytes<'_>) -> Result<Contents, BoxError>;
}

struct Job {
    /// Below the layout's number of slots.
    slot: usize,
    object: u64,
    offset: u64,
    len: usize,
}

fn fill<L: Link>(
    pool: &Pool<'_, L>,
    job: &Job,
    source: &dyn Source,
    failed: &AtomicU64,
) -> Result<(), HostError> {
    // After an error nobody waits for the rest.
    if pool.is_over() {
        return Ok(());
    }
    let &Job {
        slot: index,
        object,
        offset,
        len,
    } = job;
    let payload = pool.layout.payload(pool.link.memory(), index).slice(0, len);
    let payload = payload.expect("no longer than a payload: checked when it was asked for");
    let (slot, len) = (index as u64, len as u64);
    let answer = match source.read(object, offset, payload) {
        Ok(Contents::Bytes) => ToGuest::Filled { slot, len },
        Ok(Contents::Zero) => ToGuest::FilledZero { slot, len },
        Err(e) => {
            log::error!("object {object}, {len} bytes at {offset}: {e}");
            // A guest gives up at the first; what it had asked for by then may fail as well.
            let limit = pool.layout.slots() as u64;
            if failed.fetch_add(1, Ordering::Relaxed) >= limit {
                let what = "fetches that fail";
                return Err(HostError::TooMuch { what, limit });
            }
            ToGuest::FetchFailed { slot }
        }
    };
    pool.give_back(index, answer)
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
        put: &mut dyn FnMut(Job),
    ) -> Result<ToHost, HostError> {
        loop {
            match pool.recv(incoming, clock)? {
                message @ ToHost::Opened { .. } if self.opened.is_none() => {
                    self.opened = Opened::of(message);
                    self.opened.into_iter().for_each(&mut *self.tell);
                }
                ToHost::Fetch {
                    slot,
                    object,
                    offset,
                    len,
                } if self.opened.is_some() => {
                    let job = Job {
                        slot: pool.claim(slot, "slot (it is being filled)")?,
                        object,
                        offset,
                        len: bounded("length", len, 1, pool.layout.payload_size())?,
                    };
                    self.bytes.add(len)?;
                    self.fetches.add(1)?;
                    clock.moved(len);
                    put(job);
                }
                end @ (ToHost::Restored { .. } | ToHost::Failed { .. }) => return Ok(end),
                other => return in_turn(self.command, other, |_| None),
            }
        }
    }
}

impl<L: Link> Commander<L> {
    /// Serves image `generation`. `opened` is called when the program runs; this returns when everything has arrived.
    /// Every fetch has been answered by then, also where the guest gives up: it takes its slots back by the answers.
    pub(super) fn serve(
        &mut self,
        generation: u64,
        source: &dyn Source,
        opened: &mut dyn FnMut(Opened),
    ) -> Result<Restored, HostError> {
        let command = ToGuest::Restore { generation };
        let mut clock = self.command(command, self.timeouts.long_work())?;
        let limit = self.limits.round_bytes.saturating_mul(2);
        let mut step = Step {
            command,
            opened: None,
            tell: opened,
            bytes: Tally::new("bytes fetched", limit),
            fetches: Tally::new("fetches", StepLimits::extents(limit)),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let failed = AtomicU64::new(0);
        let (end, lost) = side_by_side(
            &mut self.port,
            &self.buffers,
            self.timeouts.silence,
            cores.min(WORKERS),
            &|| Ok(()),
            |pool, job, _| fill(pool, &job, source, &failed),
            |pool, incoming, put| step.run(pool, incoming, &mut clock, put),
        );
        match (lost.map_or(end, Err)?, step.opened) {
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
}
