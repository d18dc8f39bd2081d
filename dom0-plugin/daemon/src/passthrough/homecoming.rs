//! Devices come back: what libxl and the device model do not agree on is mended, what is away is attached, and the guest is waited for.

use super::device::Device;
use super::error::{DeviceError, DeviceProblem};
use super::guest::Guest;
use super::policy::Policy;
use super::standing::{Standing, Standings};
use super::taken::Removal;
use super::toolstack::Toolstack;
use super::verdict::verdict;
use super::wait::wait;
use std::io;
use std::time::Duration;

/// How often is looked whether the toolstack has ended.
const PACE: Duration = Duration::from_millis(200);

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The guest used all of them already.
    Nothing,
    /// It does now, and that took something.
    Done,
}

/// A domain whose devices come back.
pub struct Homecoming<'a> {
    pub toolstack: &'a dyn Toolstack,
    pub policy: &'a Policy,
    pub domid: u32,
    pub guest: &'a Guest<'a>,
    pub standings: Standings,
}

impl Homecoming<'_> {
    /// All of it. `by_policy`: what a domain gets that has no device, and of which none was taken.
    pub fn complete(mut self, by_policy: &[Device]) -> Result<Found, DeviceError> {
        let mut failures = Vec::new();
        if !self.standings.record.is_empty() || !by_policy.is_empty() {
            self.await_toolstack()?;
            self.take(by_policy)?;
            self.strike_off_stale(&mut failures)?;
            self.unplug_ghosts(&mut failures)?;
        }
        let away = self.standings.that_are(Standing::Away);
        let was_settled = self.standings.is_settled();
        self.attach(&away, &mut failures)?;
        // One that is lost keeps no other away; but a program that may need it is not served.
        if let Some(first) = failures.into_iter().reduce(|first, other| {
            log::error!("{other}");
            first
        }) {
            return Err(first);
        }
        let had_to_wait = self.await_guest(away.is_empty())?;
        if was_settled && !had_to_wait {
            return Ok(Found::Nothing);
        }
        self.settle()?;
        Ok(Found::Done)
    }

    /// In the middle of an attach or a detach libxl's list and the device model's say different things.
    fn await_toolstack(&self) -> Result<(), DeviceError> {
        let patience = self.policy.timeout;
        let is_free = || Ok(!self.toolstack.is_at_work(self.domid)?);
        match wait(patience, PACE, is_free) {
            Ok(true) => Ok(()),
            Ok(false) => Err(DeviceProblem::AtWork(patience).of(self.domid)),
            Err(e) => Err(DeviceProblem::Link(e).of(self.domid)),
        }
    }

    /// Puts devices on record: those that are attached before one fails, or this daemon does, are not all.
    fn take(&mut self, devices: &[Device]) -> Result<(), DeviceError> {
        match devices {
            [] => Ok(()),
            _ => {
                self.standings.take(devices);
                self.write()
            }
        }
    }

    /// Devices that have left without libxl's notice are struck off its list; they are away then.
    fn strike_off_stale(&mut self, failures: &mut Vec<DeviceError>) -> Result<(), DeviceError> {
        self.note_stale(self.policy.timeout)?;
        for device in self.standings.that_are(Standing::Stale) {
            // Before: that it has left is known.
            self.standings.set_removal(&device, Removal::Done);
            self.write()?;
            match self.guest.strike(&device) {
                Ok(()) => self.standings.has_left(&device),
                Err(error) => {
                    let device = device.to_string();
                    let problem = DeviceProblem::NotDetached { device, error };
                    failures.push(problem.of(self.domid));
                }
            }
        }
        Ok(())
    }

    /// Puts devices on record that have left without libxl's notice; whether there are any. What nobody here has taken may be in
    /// somebody's own detach, which resets it before it ends: it has `grace`.
    pub fn note_stale(&mut self, grace: Duration) -> Result<bool, DeviceError> {
        let taken = self.standings.listed_on_record(true);
        let others = self.standings.listed_on_record(false);
        let mut stale = self.guest.stale(&taken, Duration::ZERO);
        stale.extend(self.guest.stale(&others, grace));
        let is_at_work = self.toolstack.is_at_work(self.domid);
        if stale.is_empty() || is_at_work.unwrap_or(true) {
            return Ok(false);
        }
        self.standings.note_gone(&stale);
        self.write().map(|()| true)
    }

    /// Devices that the device model has and libxl does not list: xl would not attach them, nor detach them. What somebody else has
    /// detached for good goes off the record.
    fn unplug_ghosts(&mut self, failures: &mut Vec<DeviceError>) -> Result<(), DeviceError> {
        let unlisted = self.standings.unlisted();
        if unlisted.is_empty() {
            return Ok(());
        }
        match self.guest.ghosts(&unlisted) {
            Ok(ghosts) => self.standings.note_emulated(&unlisted, &ghosts),
            Err(e) => log::debug!("domain {}: {e}", self.domid),
        }
        for device in self.standings.that_are(Standing::Released) {
            log::warn!(
                "domain {}: PCI device {device}, which was to leave, was detached by somebody else: it does not come back by itself",
                self.domid
            );
            self.standings.forget(&device);
            self.write()?;
        }
        for device in self.standings.that_are(Standing::Ghost) {
            match self.guest.unplug(&device, self.policy.timeout) {
                Ok(()) => self.standings.has_left(&device),
                Err(error) => {
                    let device = device.to_string();
                    failures.push(DeviceProblem::Ghost { device, error }.of(self.domid));
                }
            }
        }
        Ok(())
    }

    fn attach(
        &mut self,
        away: &[Device],
        failures: &mut Vec<DeviceError>,
    ) -> Result<(), DeviceError> {
        for device in away {
            if let Err(error) = self.toolstack.attach(self.domid, device) {
                let verdict = verdict(self.toolstack, self.domid, device, &error.to_string());
                let device = device.to_string();
                let problem = DeviceProblem::NotAttached {
                    device,
                    error,
                    verdict,
                };
                failures.push(problem.of(self.domid));
                continue;
            }
            // Whatever removal was under way, it was another one's.
            self.standings.has_come(device);
            self.write()?;
        }
        if !away.is_empty() {
            self.guest.was_given();
            self.standings.listed = self.assigned()?;
        }
        Ok(())
    }

    /// Waits until the guest uses them; whether it had to be. `slept`: they may have come before it ran, and it has not heard of them.
    fn await_guest(&mut self, slept: bool) -> Result<bool, DeviceError> {
        let listed = &self.standings.listed;
        let connected = self.guest.connect(listed, slept, self.policy.timeout);
        connected.map_err(|problem| {
            let is_missing = matches!(problem, DeviceProblem::NotFound { .. });
            // What has left without anybody's notice is to come back at the next attempt.
            if self.standings.record.is_empty()
                && is_missing
                && let Err(e) = self.note_stale(Duration::ZERO)
            {
                log::warn!("{e}");
            }
            problem.of(self.domid)
        })
    }

    /// The guest uses them: the administrator's command runs, and the record is what may leave yet.
    fn settle(&mut self) -> Result<(), DeviceError> {
        let listed = self.assigned()?;
        let hook = &self.policy.after_attach;
        hook.run(self.toolstack, self.domid, &listed)?;
        let is_at_work = self.toolstack.is_at_work(self.domid);
        self.standings.settle(listed, is_at_work.unwrap_or(true));
        self.write()?;
        for taken in self.standings.record.iter().filter(|t| t.may_leave()) {
            log::warn!(
                "domain {}: PCI device {} was to leave and has not: it may yet, whenever what uses its driver in the guest ends",
                self.domid,
                taken.device
            );
        }
        Ok(())
    }

    fn assigned(&self) -> Result<Vec<Device>, DeviceError> {
        let unread = |e: io::Error| DeviceProblem::Unread(e).of(self.domid);
        self.toolstack.assigned(self.domid).map_err(unread)
    }

    fn write(&self) -> Result<(), DeviceError> {
        let written = self
            .toolstack
            .set_record(self.domid, &self.standings.record);
        written.map_err(|e| DeviceProblem::Unnoted(e).of(self.domid))
    }
}
