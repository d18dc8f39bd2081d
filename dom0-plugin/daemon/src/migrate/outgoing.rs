//! What a migration carries along from phase to phase.

use super::error::MigrationError;
use crate::capture::Capture;
use crate::capture_sink::{CaptureSink, Records};
use crate::carrier::who;
use crate::cost_model::Load;
use crate::daemon::Daemon;
use crate::laps::Laps;
use crate::moving::UnderWay;
use crate::ram_report;
use crate::rounds::Costs;
use protocol::ram::RamFigures;
use protocol::report::{Report, Role};
use protocol::status::PublishedState;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use stream::{Elided, Written};

/// One domain on its way out.
pub struct Outgoing<'d> {
    pub daemon: &'d Arc<Daemon>,
    pub domid: u32,
    pub cancelled: Arc<AtomicBool>,
    /// What others see of it, and order.
    pub under_way: UnderWay,
    /// PCI devices that have to be detached at the stop.
    pub devices: usize,
    pub report: Report,
    pub started: Instant,
}

impl Outgoing<'_> {
    /// Whether the domain leaves, devices and all.
    pub fn leaves(&self) -> bool {
        self.report.role != Role::Rehearsal
    }

    /// A program that has come since HEAD is not in the stream: moving it would lose its GPU state.
    pub fn may_stop(&self) -> Result<(), MigrationError> {
        self.under_way.check()?;
        if !self.leaves() {
            return Ok(());
        }
        let now = self.daemon.carrier.sessions_of(self.domid)?;
        let known = |id| self.report.sessions.iter().any(|s| s.key.session == id);
        match now.announced.iter().find(|a| !known(a.session)) {
            None => Ok(()),
            Some(new) => Err(MigrationError::NewSession(who(new))),
        }
    }

    /// The helper has pre-copied RAM a bit further.
    pub fn ram(&mut self, figures: RamFigures) {
        let ram = self.report.ram.get_or_insert_default();
        ram_report::learn(ram, self.domid, figures, self.started.elapsed());
    }

    /// What the stop will cost, and the bytes that drivers' own checkpoints will then have written to the guest's memory, as far as
    /// that leaves. `resident`: bytes of buffers, of each session of `capture`. What is left to drivers stands in the report and
    /// in the progress from now on.
    pub fn expect(&mut self, capture: &Capture, resident: &[u64]) -> (Costs, u64) {
        let left: Vec<_> = capture.left_to_drivers().collect();
        for (key, left) in &left {
            let mut sessions = self.report.sessions.iter_mut();
            if let Some(session) = sessions.find(|s| s.key == *key) {
                session.left_to_driver = *left;
            }
        }
        let bytes = left
            .iter()
            .fold(0u64, |sum, (_, left)| sum.saturating_add(left.bytes));
        self.under_way.left_to_drivers(bytes);
        let loads = left.iter().zip(resident).map(|((key, left), bytes)| {
            let (bytes, left) = (*bytes, *left);
            (key.session, Load { bytes, left })
        });
        let costs = self.daemon.costs.expect(loads, self.devices > 0);
        (costs, if self.leaves() { bytes } else { 0 })
    }

    /// Where `capture` brings what it copies.
    pub fn sink<'a>(&'a self, records: &'a Records, capture: &Capture) -> CaptureSink<'a> {
        CaptureSink {
            records: Some(records),
            cancelled: &self.cancelled,
            sent: &self.under_way.sent,
            sessions: capture.count(),
        }
    }

    /// What has not been carried so far.
    pub fn note_elided(&mut self, written: Written) {
        let Elided { zero, copies } = written.elided;
        self.report.gpu_bytes.zero = zero;
        self.report.gpu_bytes.copies = copies;
    }

    /// What really went wrong: whatever failed after an abort did so because of that.
    pub fn reason(&self, error: impl Into<MigrationError>) -> MigrationError {
        let called_off = self.under_way.check().err();
        called_off.map_or_else(|| error.into(), MigrationError::from)
    }

    /// It is over; `error` says why where it was for nothing.
    pub fn end(mut self, laps: Option<Laps>, error: Option<impl Display>) {
        self.report.total_s = Some(self.started.elapsed().as_secs_f64());
        self.report.ok = Some(error.is_none());
        self.report.error = error.as_ref().map(ToString::to_string);
        let (daemon, domid) = (self.daemon, self.domid);
        match &error {
            None => {
                log::info!("domain {domid}: its GPU state has left");
                daemon.publisher.tell(domid, PublishedState::Detached);
            }
            Some(reason) => {
                log::error!("domain {domid}: the migration ended: {reason}");
                daemon.publisher.failed(domid, reason);
            }
        }
        daemon.reports.put(self.report, laps);
    }
}
