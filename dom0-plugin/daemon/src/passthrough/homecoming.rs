//! Devices come back: what has left unnoticed is struck off, what is away is attached, and the guest is waited for.

use super::device::Device;
use super::error::{DeviceError, DeviceProblem};
use super::guest::Guest;
use super::policy::Policy;
use super::standing::{Standing, Standings};
use super::toolstack::Toolstack;
use super::verdict::verdict;
use std::io;

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
        if !self.standings.record.is_empty() {
            self.strike_off_stale()?;
        }
        let away = self.standings.that_are(Standing::Away);
        let missing = match away.is_empty() {
            false => &away[..],
            true => by_policy,
        };
        let was_settled = self.standings.is_settled() && missing.is_empty();
        self.attach(missing)?;
        let had_to_wait = self.await_guest(missing.is_empty())?;
        if was_settled && !had_to_wait {
            return Ok(Found::Nothing);
        }
        self.settle()?;
        Ok(Found::Done)
    }

    /// Devices that have left without libxl's notice are struck off its list; they are away then.
    fn strike_off_stale(&mut self) -> Result<(), DeviceError> {
        self.note_stale()?;
        for device in self.standings.that_are(Standing::Stale) {
            self.guest.strike(&device).map_err(|error| {
                let device = device.to_string();
                DeviceProblem::NotDetached { device, error }.of(self.domid)
            })?;
            self.standings.struck(&device);
        }
        Ok(())
    }

    /// Puts devices on record that have left without libxl's notice; whether there are any.
    pub fn note_stale(&mut self) -> Result<bool, DeviceError> {
        let stale = self.guest.stale(&self.standings.listed);
        if stale.is_empty() {
            return Ok(false);
        }
        self.standings.note_gone(stale);
        self.write().map(|()| true)
    }

    fn attach(&mut self, missing: &[Device]) -> Result<(), DeviceError> {
        for device in missing {
            let attached = self.toolstack.attach(self.domid, device);
            attached.map_err(|error| {
                let verdict = verdict(self.toolstack, self.domid, device, &error.to_string());
                let device = device.to_string();
                DeviceProblem::NotAttached {
                    device,
                    error,
                    verdict,
                }
                .of(self.domid)
            })?;
            // Whatever removal was under way, it was another one's.
            self.standings.struck(device);
        }
        if !missing.is_empty() {
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
                && let Err(e) = self.note_stale()
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
        self.standings.settle(listed);
        self.write()?;
        for taken in &self.standings.record {
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
