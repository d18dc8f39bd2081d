//! Taking a capture's batches: workers drain the slots that the guest fills.
//!
//! A slot is copied to private memory and given back, the copy is parsed and goes to the sink. Batches of one step reach
//! the sink in any order, and all of them before the step ends. A guest that sends a byte twice within a step, and not
//! the same, sends it again in a later one.

use super::commands::{Commander, in_turn};
use super::error::HostError;
use super::limits::{StepLimits, Tally, bounded};
use super::sink::Sink;
use super::workers::{Pool, side_by_side};
use crate::image::{Batch, EXTENT_BYTES};
use crate::link::Link;
use crate::message::{ToGuest, ToHost};
use std::time::Duration;

/// A slot that the guest has handed over, its figures in bounds.
struct Job {
    slot: usize,
    payload: usize,
    extents: usize,
}

fn drain<L: Link>(
    pool: &Pool<'_, L>,
    job: &Job,
    buffer: &mut Vec<u8>,
    limits: &StepLimits,
    sink: impl FnOnce(&Batch<'_>) -> Result<(), HostError>,
) -> Result<(), HostError> {
    let slot = job.slot as u64;
    let free = ToGuest::SlotFree { slot };
    // After an error nobody needs the rest; the guest gets its slots back all the same.
    if pool.is_over() {
        return pool.give_back(job.slot, free);
    }
    let memory = pool.link.memory();
    let mut table = vec![0; job.extents * EXTENT_BYTES];
    let shared = pool.layout.table(memory, job.slot);
    let shared = shared.slice(0, table.len());
    shared.expect("the count fits the table").read(&mut table);
    buffer.resize(pool.layout.payload_size(), 0);
    let payload = &mut buffer[..job.payload];
    let shared = pool.layout.payload(memory, job.slot);
    let shared = shared.slice(0, job.payload);
    shared.expect("checked when it was sent").read(payload);
    pool.give_back(job.slot, free)?;
    sink(&Batch::parse(payload, &table, &limits.batch)?)
}

/// What the guest may still send in this step.
struct Allowance {
    bytes: Tally,
    extents: Tally,
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
            slot: pool.claim(slot, "slot (it has not been given back)")?,
            payload: bounded("length", payload, 0, pool.layout.payload_size())?,
            extents: bounded("extent count", extents, 1, pool.layout.table_extents())?,
        };
        self.bytes.add(payload)?;
        self.extents.add(extents)?;
        Ok(job)
    }
}

impl<L: Link> Commander<L> {
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
        let limits = &self.limits;
        let mut allowed = Allowance {
            bytes: Tally::new("bytes", limits.round_bytes),
            extents: Tally::new("extents", StepLimits::extents(limits.round_bytes)),
        };
        let (ended, lost) = side_by_side(
            &mut self.port,
            &self.buffers,
            self.timeouts.silence,
            sink.workers(),
            &|| {
                sink.called_off()
                    .map_or(Ok(()), |e| Err(HostError::Store(e)))
            },
            |pool, job, buffer| {
                drain(pool, &job, buffer, limits, |batch| {
                    sink.batch(round, batch).map_err(HostError::Store)
                })
            },
            |pool, incoming, put| {
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
            },
        );
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
}
