//! Rounds while the programs run, until the policy or the operator ends them.

use super::Migration;
use crate::capture::Capture;
use crate::rounds::{Decision, Sent};
use crate::tee::{Records, Tee};
use protocol::helper::{Next, Round};
use protocol::progress::{Phase, StandingOrder};
use protocol::report::{Precopy, PrecopyEnd, RoundReport};
use std::time::{Duration, Instant};

/// Bytes of a page of guest memory.
const PAGE: u64 = 4096;
/// While the operator holds a migration, a round begins no sooner than this after the last one did.
const HELD_PACE: Duration = Duration::from_millis(500);

impl Migration<'_> {
    /// One round while the programs run. `dirty_pages`: what there is to send of the guest's memory, where that is known.
    pub fn precopy(&mut self, dirty_pages: Option<u64>) -> Result<Round, String> {
        let begun = self.started.elapsed();
        let done = self.under_way.check().and_then(|()| {
            if self.wish_for_a_round() {
                self.round(dirty_pages)?;
            }
            // An abort that came meanwhile.
            self.under_way.check()
        });
        match done {
            Ok(()) => {
                self.round_began = begun;
                Ok(self.answer())
            }
            Err(reason) => Err(self.fail(reason)),
        }
    }

    /// Whether a round is to be made now; waits where the operator holds it and the last one has only just begun.
    fn wish_for_a_round(&self) -> bool {
        if self.left {
            return false;
        }
        let due = self.round_began + HELD_PACE;
        let early = due.saturating_sub(self.started.elapsed());
        if self.under_way.wish() == StandingOrder::Hold
            && self.rounds.next() > 0
            && !early.is_zero()
        {
            self.under_way.pause(early);
        }
        self.rounds.is_of_use(self.under_way.wish())
    }

    fn round(&mut self, dirty_pages: Option<u64>) -> Result<(), String> {
        self.head()?;
        let number = self.rounds.next();
        let expected = self.rounds.expected();
        self.under_way.begin(Phase::Round, number, expected);
        let (start, begun) = (self.started.elapsed(), Instant::now());
        let tee = Tee {
            records: self.records.as_ref(),
            cancelled: &self.cancelled,
            sent: &self.under_way.sent,
            sessions: self.capture.as_ref().map_or(0, Capture::count),
        };
        let sums = match &mut self.capture {
            Some(capture) => capture.round(number, &tee).map_err(|e| e.to_string())?,
            None => Default::default(),
        };
        let took = begun.elapsed();
        self.rounds.record(Sent {
            bytes: sums.bytes,
            dirty: sums.dirty,
            memory: dirty_pages.map(|pages| pages.saturating_mul(PAGE)),
            took,
            at: self.started.elapsed(),
        });
        self.under_way.learn(&self.rounds);
        let predicted = self.rounds.prediction();
        log::info!(
            "domain {}: GPU round {number}: {} bytes in {took:?}, {} dirty again; predicted blackout {:?}",
            self.domid,
            sums.bytes,
            sums.dirty,
            predicted.total()
        );
        self.report.gpu_bytes.precopy.push(sums.bytes);
        if let Some(written) = self.records.as_ref().map(Records::written) {
            self.note_travelled(written);
        }
        self.report.uncompared = sums.uncompared();
        let budget = self.daemon.settings.precopy.budget;
        let precopy = self.report.precopy.get_or_insert_with(Precopy::default);
        precopy.rounds.push(RoundReport {
            start_s: start.as_secs_f64(),
            took_s: took.as_secs_f64(),
            bytes: sums.bytes,
            dirty_bytes: sums.dirty,
        });
        precopy.budget_s = budget.as_secs_f64();
        precopy.predicted = predicted.into();
        self.report.predicted_blackout_s = Some(predicted.total().as_secs_f64());
        Ok(())
    }

    /// What the last round came to, and what is next.
    fn answer(&mut self) -> Round {
        let decision = self.rounds.decide(self.under_way.wish());
        if self.left {
            // Memory alone has to be copied now: a force concerned the programs.
            return Round {
                round: self.rounds.next().saturating_sub(1),
                bytes: 0,
                dirty_bytes: 0,
                next: Next::Stop,
            };
        }
        let (next, ended) = match decision {
            Decision::GoOn => (Next::Round, None),
            Decision::Hold => (Next::Hold, None),
            Decision::Stop(PrecopyEnd::Forced) => (Next::Force, Some(PrecopyEnd::Forced)),
            Decision::Stop(end) => (Next::Stop, Some(end)),
        };
        let precopy = self.report.precopy.get_or_insert_with(Precopy::default);
        if precopy.ended != ended {
            log::info!("domain {}: GPU pre-copy: next: {decision:?}", self.domid);
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
}
