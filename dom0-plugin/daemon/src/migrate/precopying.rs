//! Rounds while the programs run, until the policy or the operator ends them; then the stop.

use super::aborted::Aborted;
use super::error::MigrationError;
use super::outgoing::Outgoing;
use super::stop::Stop;
use super::stopped::Stopped;
use crate::capture::Capture;
use crate::capture_sink::Records;
use crate::domain_lock::DomainLock;
use crate::rounds::{Decision, Rounds, Sent};
use channel::image::SessionKey;
use protocol::helper::{Next, Round};
use protocol::progress::{Phase, StandingOrder};
use protocol::report::{Precopy, PrecopyEnd, RoundReport};
use std::time::{Duration, Instant};
use stream::StreamEnd;

/// Bytes of a page of guest memory.
const PAGE: u64 = 4096;
/// While the operator holds a migration, a round begins no sooner than this after the last one did.
const HELD_PACE: Duration = Duration::from_millis(500);

/// HEAD is in the stream, and the programs run.
pub struct PreCopying<'d> {
    pub(super) out: Outgoing<'d>,
    pub(super) lock: DomainLock,
    pub(super) capture: Capture,
    pub(super) stored: Vec<SessionKey>,
    pub(super) records: Records,
    pub(super) rounds: Rounds,
    /// Bytes of buffers, of each session captured, when it began.
    pub(super) resident: Vec<u64>,
    /// When the last round began, since the start.
    pub(super) round_began: Duration,
}

impl<'d> PreCopying<'d> {
    /// Gives it up.
    pub fn abort(self, error: MigrationError) -> Box<Aborted<'d>> {
        Aborted::undo(self.out, self.lock, self.capture, error)
    }

    /// One round, if it is of use. `dirty_pages`: what there is to send of the guest's memory, where that is known.
    pub fn round(mut self, dirty_pages: Option<u64>) -> Result<(Self, Round), Box<Aborted<'d>>> {
        match self.round_if_useful(dirty_pages) {
            Ok(()) => {
                let answer = self.answer();
                Ok((self, answer))
            }
            Err(e) => Err(self.abort(e)),
        }
    }

    fn round_if_useful(&mut self, dirty_pages: Option<u64>) -> Result<(), MigrationError> {
        let begun = self.out.started.elapsed();
        self.out.under_way.check()?;
        if self.wants_a_round() {
            self.make_round(dirty_pages)?;
        }
        // An abort that came meanwhile.
        self.out.under_way.check()?;
        self.round_began = begun;
        Ok(())
    }

    /// Whether a round is to be made now; waits where the operator holds it and the last one has only just begun.
    fn wants_a_round(&self) -> bool {
        let under_way = &self.out.under_way;
        let due = self.round_began + HELD_PACE;
        let early = due.saturating_sub(self.out.started.elapsed());
        let held = under_way.standing_order() == StandingOrder::Hold;
        if held && self.rounds.next() > 0 && !early.is_zero() {
            under_way.pause(early);
        }
        self.rounds.is_of_use(under_way.standing_order())
    }

    fn make_round(&mut self, dirty_pages: Option<u64>) -> Result<(), MigrationError> {
        let (number, expected) = (self.rounds.next(), self.rounds.expected());
        self.out.under_way.begin(Phase::Round, number, expected);
        let (start, begun) = (self.out.started.elapsed(), Instant::now());
        let sink = self.out.sink(&self.records, &self.capture);
        let sums = self.capture.round(number, &sink)?;
        let took = begun.elapsed();
        let (costs, image) = self.out.expect(&self.capture, &self.resident);
        self.rounds.expect(costs, image);
        self.rounds.record(Sent {
            bytes: sums.bytes,
            dirty: sums.dirty,
            memory: dirty_pages.map(|pages| pages.saturating_mul(PAGE)),
            took,
            at: self.out.started.elapsed(),
        });
        self.out.under_way.learn(&self.rounds);
        let predicted = self.rounds.prediction();
        log::info!(
            "domain {}: GPU round {number}: {} bytes in {took:?}, {} dirty again; predicted blackout {:?}",
            self.out.domid,
            sums.bytes,
            sums.dirty,
            predicted.total()
        );
        self.out.note_elided(self.records.written());
        let budget = self.out.daemon.settings.precopy.budget;
        let report = &mut self.out.report;
        report.gpu_bytes.precopy.push(sums.bytes);
        report.uncompared = sums.uncompared();
        let precopy = report.precopy.get_or_insert_with(Precopy::default);
        precopy.rounds.push(RoundReport {
            start_s: start.as_secs_f64(),
            took_s: took.as_secs_f64(),
            bytes: sums.bytes,
            dirty_bytes: sums.dirty,
        });
        precopy.budget_s = budget.as_secs_f64();
        precopy.predicted = predicted.into();
        report.predicted_blackout_s = Some(predicted.total().as_secs_f64());
        Ok(())
    }

    /// What the last round came to, and what is next.
    fn answer(&mut self) -> Round {
        let decision = self.rounds.decide(self.out.under_way.standing_order());
        let (next, ended) = match decision {
            Decision::GoOn => (Next::Round, None),
            Decision::Hold => (Next::Hold, None),
            Decision::Stop(PrecopyEnd::Forced) => (Next::Force, Some(PrecopyEnd::Forced)),
            Decision::Stop(end) => (Next::Stop, Some(end)),
        };
        let precopy = self.out.report.precopy.get_or_insert_default();
        if precopy.ended != ended {
            log::info!(
                "domain {}: GPU pre-copy: next: {decision:?}",
                self.out.domid
            );
            precopy.ended = ended;
        }
        let last = precopy.rounds.last();
        Round {
            round: self.rounds.next().saturating_sub(1),
            bytes: last.map_or(0, |r| r.bytes),
            dirty_bytes: self.rounds.expected(),
            next,
        }
    }

    /// Stop-and-copy, seal, unload, unmap, detach. On an error the programs have their GPU state back. The stream comes
    /// back, sealed.
    pub fn stop(self) -> Result<(Stopped<'d>, StreamEnd), Box<Aborted<'d>>> {
        if let Err(e) = self.out.may_stop() {
            return Err(self.abort(e));
        }
        let (mut out, lock, mut capture) = (self.out, self.lock, self.capture);
        let mut stop = Stop::begin(&mut out);
        let sealed = stop
            .last_chunks(&mut capture, &self.records, &self.rounds)
            .and_then(|()| stop.seal(&capture, &self.stored, self.records));
        let (stream, identity) = match sealed {
            Ok(sealed) => sealed,
            Err(e) => return Err(Aborted::undo(out, lock, capture, e)),
        };
        let keys = capture.keys();
        if let Err(e) = stop.release(capture, identity.as_deref()) {
            return Err(Aborted::detached(out, lock, Vec::new(), None, e));
        }
        if let Err(e) = stop.let_devices_go(&keys) {
            let laps = stop.give_up();
            return Err(Aborted::detached(out, lock, keys, Some(laps), e));
        }
        let laps = stop.end(&keys);
        let stopped = Stopped {
            round: self.rounds.next().saturating_sub(1),
            out,
            lock,
            detached: keys,
            laps,
        };
        Ok((stopped, stream))
    }
}
