//! The GPU state is in the stream and in images here, and nowhere else; the guest is about to be suspended.

use super::aborted::Aborted;
use super::error::MigrationError;
use super::outgoing::Outgoing;
use super::suspended::Suspended;
use crate::carrier::{image_of, who};
use crate::domain_lock::DomainLock;
use crate::laps::Laps;
use channel::image::SessionKey;
use channel::link::Residence;
use protocol::blackout::Part;
use protocol::helper::{Next, Round};
use protocol::report::Report;
use std::fmt::Display;
use std::time::Duration;

/// All sessions are detached, and no device is left in the domain.
pub struct Stopped<'d> {
    pub(super) out: Outgoing<'d>,
    pub(super) lock: DomainLock,
    pub(super) detached: Vec<SessionKey>,
    /// Number of the last round.
    pub(super) round: u32,
    /// They run since the gate closed.
    pub(super) laps: Laps,
}

impl<'d> Stopped<'d> {
    /// Memory alone has to be copied now: a force concerned the programs. An abort ends it between two passes.
    pub fn memory_round(self) -> Result<(Self, Round), Box<Aborted<'d>>> {
        if let Err(e) = self.out.under_way.check() {
            let laps = Some(self.laps);
            return Err(Aborted::detached(
                self.out,
                self.lock,
                self.detached,
                laps,
                e,
            ));
        }
        let round = Round {
            round: self.round,
            bytes: 0,
            dirty_bytes: 0,
            next: Next::Stop,
        };
        Ok((self, round))
    }

    /// The guest is suspended, which took `took`. The suspend is taken back where something would not survive the move.
    pub fn suspended(mut self, took: Duration) -> Suspended<'d> {
        self.laps.split(Part::Suspend, took, Part::Memory);
        let blackout = self.laps.so_far();
        let away = [Part::Detach, Part::Memory, Part::Suspend];
        let away: Duration = away.into_iter().filter_map(|p| blackout.get(p)).sum();
        let report = &mut self.out.report;
        if !report.devices.is_empty() {
            let ram = report.ram.get_or_insert_default();
            ram.detach_to_suspend_s = Some(away.as_secs_f64());
        }
        report.blackout = blackout;
        let left = self.all_left();
        if let Err(e) = &left {
            log::error!("domain {}: {e}", self.out.domid);
        }
        self.hand_over(left.err())
    }

    /// The guest could not be suspended.
    pub fn not_suspended(self) -> Suspended<'d> {
        log::warn!("domain {}: it was not suspended", self.out.domid);
        self.hand_over(None)
    }

    /// From here on the domain is free for whoever resumes it.
    fn hand_over(self, taken_back: Option<MigrationError>) -> Suspended<'d> {
        let (daemon, domid) = (self.out.daemon, self.out.domid);
        let (report, laps) = (self.out.report.clone(), self.laps.clone());
        daemon.reports.put(report, Some(laps));
        daemon
            .server
            .when_resumed(domid, &self.detached, &self.lock);
        Suspended {
            out: self.out,
            laps: self.laps,
            taken_back,
        }
    }

    /// Whether all GPU state of the guest, which is frozen, is in the stream and no page of it is shared; then the domain is
    /// let go.
    fn all_left(&self) -> Result<(), MigrationError> {
        let (out, carrier) = (&self.out, &self.out.daemon.carrier);
        out.under_way.check()?;
        let now = carrier.sessions_of(out.domid)?;
        if let Some(odd) = now.nonsense.into_iter().next() {
            return Err(MigrationError::Nonsense {
                node: odd.node,
                reason: odd.reason,
            });
        }
        for a in now.announced {
            let (who, key) = (who(&a), image_of(&a));
            if a.state != Residence::Detached {
                return Err(MigrationError::NotDetached(who));
            }
            if !out.report.sessions.iter().any(|s| s.key == key) {
                return Err(MigrationError::NotInStream { who, key });
            }
            if carrier.is_session_open(out.domid, a.session)? {
                return Err(MigrationError::BeingOpened(who));
            }
        }
        Ok(out.under_way.let_go()?)
    }

    /// For a rehearsal: what has been measured, the clock, and the domain, still alone.
    pub fn rehearsed(self) -> (Report, Laps, DomainLock) {
        (self.out.report, self.laps, self.lock)
    }

    /// It is over without a word of the suspend; `failed` says why it was for nothing.
    pub fn end(self, failed: Option<impl Display>) {
        let (daemon, domid) = (self.out.daemon, self.out.domid);
        self.out.end(Some(self.laps), failed);
        daemon
            .server
            .when_resumed(domid, &self.detached, &self.lock);
        drop(self.lock);
        daemon.server.look(domid);
    }
}
