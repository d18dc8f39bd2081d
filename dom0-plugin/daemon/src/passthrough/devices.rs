//! Takes PCI devices from domains and gives them back.

use super::absence::Absence;
use super::chip::{Chip, Gpu, NVIDIA};
use super::device::Device;
use super::error::{DeviceError, DeviceProblem};
use super::guest::Guest;
use super::holders::unexplained;
use super::hvm::Pulsed;
use super::leaving::Leaving;
use super::look::{PATIENCE, look};
use super::policy::Policy;
use super::toolstack::{InDom0, Toolstack};
use super::verdict::verdict;
use super::wait::wait;
use crate::carrier::Carrier;
use channel::bus::Module;
use channel::image::SessionId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long others may take to give a device's driver up, once the sessions have: a monitor looks for a moment. The programs wait.
const HOLDERS: Duration = Duration::from_secs(2);

/// The PCI devices of all domains.
pub struct Devices {
    carrier: Arc<dyn Carrier>,
    policy: Policy,
    /// One at a time with a domain's devices.
    locks: Mutex<BTreeMap<u32, Arc<Mutex<()>>>>,
    pulsed: Pulsed,
    leaving: Leaving,
}

impl Devices {
    /// Those that `carrier` knows, handled as `policy` says.
    pub fn new(carrier: Arc<dyn Carrier>, policy: Policy) -> Self {
        Devices {
            carrier,
            policy,
            locks: Mutex::default(),
            pulsed: Pulsed::default(),
            leaving: Leaving::default(),
        }
    }

    /// What assigns devices to domains, where there are any to assign.
    pub fn toolstack(&self) -> Option<&dyn Toolstack> {
        self.carrier.toolstack()
    }

    /// What `xl-gpu.conf` says of devices.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    fn lock_of(&self, domid: u32) -> Arc<Mutex<()>> {
        let mut all = self.locks.lock().unwrap_or_else(|e| e.into_inner());
        all.retain(|_, lock| Arc::strong_count(lock) > 1);
        all.entry(domid).or_default().clone()
    }

    /// The guest of domain `domid`; `asked`: the session to ask what it sees, all if `None`.
    fn guest<'s>(
        &'s self,
        toolstack: &'s dyn Toolstack,
        domid: u32,
        asked: Option<SessionId>,
    ) -> Result<Guest<'s>, DeviceError> {
        let leaving = self.leaving.any(domid);
        Guest::of(
            domid,
            &*self.carrier,
            toolstack,
            asked,
            &self.pulsed,
            leaving,
        )
        .map_err(|e| DeviceProblem::Link(e).of(domid))
    }

    /// Devices that would have to leave with the domain.
    pub fn assigned(&self, domid: u32) -> Result<Vec<Device>, DeviceError> {
        match self.toolstack() {
            Some(toolstack) if self.policy.detach => toolstack
                .assigned(domid)
                .map_err(|e| DeviceProblem::Unread(e).of(domid)),
            _ => Ok(Vec::new()),
        }
    }

    /// The GPUs of this host, whoever has them; none where there are none to assign.
    pub fn gpus(&self) -> Vec<Gpu> {
        self.toolstack().map(Toolstack::gpus).unwrap_or_default()
    }

    /// The chips of those of `devices` that are GPUs with CUDA.
    pub fn cuda_chips(&self, devices: &[Device]) -> Vec<Chip> {
        let is_one_of = |gpu: &Gpu| {
            gpu.chip.vendor == NVIDIA && devices.iter().any(|device| device.bdf == gpu.bdf)
        };
        let gpus = self.gpus().into_iter();
        gpus.filter(is_one_of).map(|gpu| gpu.chip).collect()
    }

    /// Has the guest's devices detached; what they are, in order. On an error some may have gone: [`Devices::bring_back`]
    /// has to follow, as after every success that the domain does not leave after.
    pub fn send_away(&self, domid: u32) -> Result<Vec<Device>, DeviceError> {
        let devices = self.assigned(domid)?;
        let Some(toolstack) = self.toolstack().filter(|_| !devices.is_empty()) else {
            return Ok(devices);
        };
        let lock = self.lock_of(domid);
        let _alone = lock.lock().unwrap_or_else(|e| e.into_inner());
        self.policy.before_detach.run(toolstack, domid, &devices)?;
        let guest = self.guest(toolstack, domid, None)?;
        toolstack
            .set_away(domid, &devices)
            .map_err(|e| DeviceProblem::Unnoted(e).of(domid))?;
        // Its sessions have given theirs up: whoever is left holds it.
        let mut holders = Vec::new();
        let given_up = wait(HOLDERS, HOLDERS / 4, || {
            holders = self.sample(toolstack, domid, &devices, HOLDERS).0;
            Ok(holders.is_empty())
        });
        if !given_up.unwrap_or(true) {
            return Err(DeviceProblem::InUse(holders).of(domid));
        }
        for device in devices.iter().rev() {
            let started = Instant::now();
            let detached = guest.detach(device, self.policy.timeout);
            self.leaving.note(domid, device, detached.is_err());
            detached.map_err(|error| {
                let device = device.to_string();
                DeviceProblem::NotDetached { device, error }.of(domid)
            })?;
            log::info!(
                "domain {domid}: PCI device {device} detached in {:?}",
                started.elapsed()
            );
        }
        Ok(devices)
    }

    /// Sees to it that a running domain has the devices it should have, and the guest uses them. Quick where that is so;
    /// whether there was anything to do. `asked`: the session that says whether the guest has them, all if `None`.
    pub fn bring_back(&self, domid: u32, asked: Option<SessionId>) -> Result<bool, DeviceError> {
        let Some(toolstack) = self.toolstack() else {
            return Ok(false);
        };
        let lock = self.lock_of(domid);
        let _alone = lock.lock().unwrap_or_else(|e| e.into_inner());
        let started = Instant::now();
        let unread = |e| DeviceProblem::Unread(e).of(domid);
        let away = toolstack.away(domid).map_err(unread)?;
        let listed = toolstack.assigned(domid).map_err(unread)?;
        let by_policy = match away.is_empty() && listed.is_empty() {
            true => self.policy.to_attach(toolstack, domid).map_err(unread)?,
            false => Vec::new(),
        };
        if away.is_empty() && listed.is_empty() && by_policy.is_empty() {
            return Ok(false);
        }
        let guest = self.guest(toolstack, domid, asked)?;
        let unnoted = |e| DeviceProblem::Unnoted(e).of(domid);
        let (mut away, mut here) = (away, listed);
        if !away.is_empty() {
            let stale = guest.stale(&here);
            away.extend(without(stale.clone(), &away));
            if !stale.is_empty() {
                toolstack.set_away(domid, &away).map_err(unnoted)?;
            }
            for device in &stale {
                guest.strike(device).map_err(|error| {
                    let device = device.to_string();
                    DeviceProblem::NotDetached { device, error }.of(domid)
                })?;
            }
            here = without(here, &stale);
        }
        // One that has not left yet is back, as long as it stays.
        let is_settled = |d: &Device| self.leaving.is_settled(domid, d) && is_one_of(d, &here);
        let settled = away.iter().all(is_settled);
        let missing = match away.is_empty() {
            false => without(away.clone(), &here),
            true => by_policy,
        };
        for device in &missing {
            toolstack.attach(domid, device).map_err(|error| {
                let verdict = verdict(toolstack, domid, device, &error.to_string());
                let device = device.to_string();
                DeviceProblem::NotAttached {
                    device,
                    error,
                    verdict,
                }
                .of(domid)
            })?;
        }
        let given = match missing.is_empty() {
            true => here,
            false => {
                guest.was_given();
                toolstack.assigned(domid).map_err(unread)?
            }
        };
        // One that was running when its device came has heard of it.
        let connected = guest.connect(&given, missing.is_empty(), self.policy.timeout);
        let woken = connected.map_err(|problem| {
            // What has left without anybody's notice is to come back at the next attempt.
            if away.is_empty() && matches!(problem, DeviceProblem::NotFound { .. }) {
                let stale = guest.stale(&given);
                if let Err(e) = toolstack.set_away(domid, &stale) {
                    log::warn!("domain {domid}: {e}");
                }
            }
            problem.of(domid)
        })?;
        if settled && missing.is_empty() && !woken {
            return Ok(false);
        }
        let devices = toolstack.assigned(domid).map_err(unread)?;
        self.policy.after_attach.run(toolstack, domid, &devices)?;
        missing
            .iter()
            .for_each(|d| self.leaving.note(domid, d, false));
        let still = self.leaving.settle(domid, away);
        toolstack.set_away(domid, &still).map_err(unnoted)?;
        for device in &still {
            log::warn!(
                "domain {domid}: PCI device {device} was to leave and has not: it may yet, whenever what uses its driver in the guest ends"
            );
        }
        if still.is_empty() {
            log::info!(
                "domain {domid}: it has its {} PCI devices back after {:?}",
                devices.len(),
                started.elapsed()
            );
        }
        Ok(true)
    }

    /// The domain is no more.
    pub fn forget(&self, domid: u32) {
        let mut pulsed = self.pulsed.lock().unwrap_or_else(|e| e.into_inner());
        pulsed.remove(&domid);
        self.leaving.forget(domid);
    }

    /// Whether a device of the domain was to leave, has not, and may yet.
    pub fn is_leaving(&self, domid: u32) -> bool {
        self.leaving.any(domid)
    }

    /// Sees to it that an HVM guest which has just come learns of its devices, also where no session waits for them: it would hear of
    /// no later coming and going either.
    pub fn greet(&self, domid: u32) {
        let Some(toolstack) = self.toolstack() else {
            return;
        };
        let lock = self.lock_of(domid);
        let _alone = lock.lock().unwrap_or_else(|e| e.into_inner());
        let woken = match toolstack.assigned(domid) {
            Ok(devices) if devices.is_empty() => return,
            Ok(devices) => match self.guest(toolstack, domid, None) {
                Ok(Guest::Hvm(guest)) => guest.wake_if_unseen(&devices),
                Ok(_) => return,
                Err(e) => return log::warn!("{e}"),
            },
            Err(e) => Err(e),
        };
        if let Err(e) = woken {
            log::warn!("domain {domid}: {e}");
        }
    }

    /// Why the guest does not use one of `devices`, which are assigned to it, and would not give it up; `None` where it has them all.
    pub fn absence(&self, domid: u32, devices: &[Device]) -> Result<Option<Absence>, DeviceError> {
        let Some(toolstack) = self.toolstack() else {
            return Ok(None);
        };
        let guest = self.guest(toolstack, domid, None)?;
        guest
            .absence(devices)
            .map_err(|e| DeviceProblem::Link(e).of(domid))
    }

    /// Modules of the drivers of `devices` in the guest that something beside its sessions uses, and how many sessions do not tell of
    /// their part: then there are none, since it may be theirs.
    pub fn holders(&self, domid: u32, devices: &[Device]) -> (Vec<Module>, usize) {
        let Some(toolstack) = self.toolstack() else {
            return Default::default();
        };
        // Programs open and close files meanwhile.
        let mut found = Default::default();
        for n in 0..2 {
            if n > 0 {
                std::thread::sleep(HOLDERS / 4);
            }
            found = self.sample(toolstack, domid, devices, PATIENCE);
            let (modules, silent) = &mut found;
            if *silent > 0 {
                modules.clear();
            }
            if modules.is_empty() {
                break;
            }
        }
        found
    }

    fn sample(
        &self,
        toolstack: &dyn Toolstack,
        domid: u32,
        devices: &[Device],
        patience: Duration,
    ) -> (Vec<Module>, usize) {
        let seen = look(&*self.carrier, domid, None, false, patience);
        let known = devices.iter().map(|d| toolstack.in_dom0(d));
        let ids = known.filter(InDom0::may_compute).filter_map(|d| d.id);
        (
            unexplained(&seen.buses, &ids.collect::<Vec<_>>()),
            seen.silent,
        )
    }
}

fn is_one_of(device: &Device, devices: &[Device]) -> bool {
    devices.iter().any(|d| d.bdf == device.bdf)
}

fn without(devices: Vec<Device>, others: &[Device]) -> Vec<Device> {
    let mut left = devices;
    left.retain(|d| !is_one_of(d, others));
    left
}
