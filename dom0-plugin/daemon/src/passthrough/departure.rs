//! Devices leave: one after the other, each on record before the guest is asked for it.

use super::device::Device;
use super::error::{DeviceError, DeviceProblem};
use super::guest::Guest;
use super::taken::{Removal, Taken};
use super::toolstack::Toolstack;
use std::time::{Duration, Instant};

/// The record of a domain whose devices leave.
pub struct Departure<'a> {
    toolstack: &'a dyn Toolstack,
    domid: u32,
    /// Those that leave, then what was on record before and is not here.
    record: Vec<Taken>,
    leaving: usize,
}

impl<'a> Departure<'a> {
    /// Puts all `devices` on record: whatever comes next, they are to come back. What is on record from an earlier attempt stays so: a
    /// device that is still away, and a removal that is still under way.
    pub fn begin(
        toolstack: &'a dyn Toolstack,
        domid: u32,
        devices: &[Device],
    ) -> Result<Self, DeviceError> {
        let unread = |e| DeviceProblem::Unread(e).of(domid);
        let mut before = toolstack.record(domid).map_err(unread)?;
        let mut record: Vec<Taken> = Vec::new();
        for device in devices {
            let earlier = before.iter().position(|t| t.device.bdf == device.bdf);
            let removal = earlier.map(|at| before.remove(at).removal);
            record.push(Taken {
                device: device.clone(),
                removal: removal.unwrap_or_default(),
            });
        }
        record.append(&mut before);
        let departure = Departure {
            toolstack,
            domid,
            record,
            leaving: devices.len(),
        };
        departure.write()?;
        Ok(departure)
    }

    /// Has them detached, the last one first. The guest has `patience` for each.
    pub fn detach(mut self, guest: &Guest<'_>, patience: Duration) -> Result<(), DeviceError> {
        for index in (0..self.leaving).rev() {
            // Before it begins: this daemon may not see the end of it.
            self.record[index].removal = Removal::Pending;
            self.write()?;
            let (device, started) = (&self.record[index].device, Instant::now());
            guest.detach(device, patience).map_err(|error| {
                let device = device.to_string();
                DeviceProblem::NotDetached { device, error }.of(self.domid)
            })?;
            log::info!(
                "domain {}: PCI device {device} detached in {:?}",
                self.domid,
                started.elapsed()
            );
            self.record[index].removal = Removal::Done;
            self.write()?;
        }
        Ok(())
    }

    fn write(&self) -> Result<(), DeviceError> {
        let written = self.toolstack.set_record(self.domid, &self.record);
        written.map_err(|e| DeviceProblem::Unnoted(e).of(self.domid))
    }
}
