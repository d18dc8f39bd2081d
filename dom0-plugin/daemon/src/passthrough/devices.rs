//! Takes PCI devices from domains and gives them back.

use super::absence::Absence;
use super::chip::{Chip, Gpu};
use super::departure::Departure;
use super::device::Device;
use super::error::{DeviceError, DeviceProblem};
use super::guest::Guest;
use super::holders::unexplained;
use super::homecoming::{Found, Homecoming};
use super::hvm::Pulsed;
use super::kind::GuestKind;
use super::look::{PATIENCE, look};
use super::policy::Policy;
use super::standing::Standings;
use super::taken::Taken;
use super::toolstack::{InDom0, Toolstack};
use super::wait::wait;
use super::waits::{End, Waits};
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
    waits: Waits,
}

impl Devices {
    /// Those that `carrier` knows, handled as `policy` says.
    pub fn new(carrier: Arc<dyn Carrier>, policy: Policy) -> Self {
        Devices {
            carrier,
            policy,
            locks: Mutex::default(),
            pulsed: Pulsed::default(),
            waits: Waits::default(),
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
        let leaving = self.is_leaving(domid);
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

    /// The chips of those of `devices` that are GPUs.
    pub fn chips(&self, devices: &[Device]) -> Vec<Chip> {
        let is_one_of = |gpu: &Gpu| devices.iter().any(|device| device.bdf == gpu.bdf);
        let gpus = self.gpus().into_iter();
        gpus.filter(is_one_of).map(|gpu| gpu.chip).collect()
    }

    /// Those with CUDA.
    pub fn cuda_chips(&self, devices: &[Device]) -> Vec<Chip> {
        let mut chips = self.chips(devices);
        chips.retain(Chip::has_cuda);
        chips
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
        self.waits.forget(domid);
        self.policy.before_detach.run(toolstack, domid, &devices)?;
        let departure = Departure::begin(toolstack, domid, &devices)?;
        // Its sessions have given theirs up: whoever is left holds it.
        let mut holders = Vec::new();
        let given_up = wait(HOLDERS, HOLDERS / 4, || {
            holders = self.sample(toolstack, domid, &devices, HOLDERS).0;
            Ok(holders.is_empty())
        });
        if !given_up.unwrap_or(true) {
            return Err(DeviceProblem::InUse(holders).of(domid));
        }
        let guest = self.guest(toolstack, domid, None)?;
        departure.detach(&guest, self.policy.timeout)?;
        Ok(devices)
    }

    /// Sees to it that a running domain has the devices it should have, and the guest uses them. Quick where that is so;
    /// whether there was anything to do. `asked`: the session that says whether the guest has them, all if `None`.
    pub fn bring_back(&self, domid: u32, asked: Option<SessionId>) -> Result<bool, DeviceError> {
        let Some(toolstack) = self.toolstack() else {
            return Ok(false);
        };
        let called = Instant::now();
        let lock = self.lock_of(domid);
        let _alone = lock.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(end) = self.waits.since(domid, called) {
            return end.problem().map(|()| false).map_err(|e| e.of(domid));
        }
        let unread = |e| DeviceProblem::Unread(e).of(domid);
        let standings = Standings::read(toolstack, domid).map_err(unread)?;
        let by_policy = match standings.is_empty() {
            true => self.policy.to_attach(toolstack, domid).map_err(unread)?,
            false => Vec::new(),
        };
        if standings.is_empty() && by_policy.is_empty() {
            return Ok(false);
        }
        let guest = self.guest(toolstack, domid, asked)?;
        let (homecoming, began) = (
            self.homecoming(toolstack, &guest, standings),
            Instant::now(),
        );
        let found = homecoming.complete(&by_policy);
        let end = match &found {
            Ok(_) => Some(End::Used),
            Err(e) => End::of(&e.problem),
        };
        if let Some(end) = end {
            self.waits.ended(domid, began, end);
        }
        if found? == Found::Nothing {
            return Ok(false);
        }
        log::info!(
            "domain {domid}: it has its PCI devices after {:?}",
            began.elapsed()
        );
        Ok(true)
    }

    fn homecoming<'a>(
        &'a self,
        toolstack: &'a dyn Toolstack,
        guest: &'a Guest<'a>,
        standings: Standings,
    ) -> Homecoming<'a> {
        Homecoming {
            toolstack,
            policy: &self.policy,
            domid: guest.domid(),
            guest,
            standings,
        }
    }

    /// The domain is no more.
    pub fn forget(&self, domid: u32) {
        let mut pulsed = self.pulsed.lock().unwrap_or_else(|e| e.into_inner());
        pulsed.remove(&domid);
        self.waits.forget(domid);
    }

    /// Whether a device of the domain was to leave, has not, and may yet.
    pub fn is_leaving(&self, domid: u32) -> bool {
        let record = self.toolstack().map(|t| t.record(domid));
        match record {
            Some(Ok(record)) => record.iter().any(Taken::may_leave),
            Some(Err(e)) => {
                log::warn!("domain {domid}: {e}");
                false
            }
            None => false,
        }
    }

    /// Sees to it that an HVM guest which has just come learns of its devices, also where no session waits for them: it would hear of
    /// no later coming and going either. What it has lost without anybody's notice goes on record, to be brought back.
    pub fn greet(&self, domid: u32) {
        let Some(toolstack) = self.toolstack() else {
            return;
        };
        let lock = self.lock_of(domid);
        let _alone = lock.lock().unwrap_or_else(|e| e.into_inner());
        if let Err(e) = self.greet_alone(toolstack, domid) {
            log::warn!("{e}");
        }
    }

    fn greet_alone(&self, toolstack: &dyn Toolstack, domid: u32) -> Result<(), DeviceError> {
        let unread = |e| DeviceProblem::Unread(e).of(domid);
        let standings = Standings::read(toolstack, domid).map_err(unread)?;
        if standings.listed.is_empty() {
            return Ok(());
        }
        let guest = self.guest(toolstack, domid, None)?;
        let sees_all = guest.wake_if_unseen(&standings.listed);
        let sees_all = sees_all.map_err(|e| DeviceProblem::Link(e).of(domid))?;
        // With a record, they are brought back anyway.
        if !sees_all && self.policy.detach && standings.record.is_empty() {
            let mut homecoming = self.homecoming(toolstack, &guest, standings);
            homecoming.note_stale(self.policy.timeout)?;
        }
        Ok(())
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

    /// What an HVM guest's device model passes through and libxl does not list; nothing where that cannot be told.
    pub fn ghosts(&self, domid: u32, assigned: &[Device]) -> Vec<String> {
        let hvm = |t: &&dyn Toolstack| matches!(t.kind(domid), Ok(GuestKind::Hvm));
        let emulated = self.toolstack().filter(hvm).map(|t| t.emulated(domid));
        let ids = emulated.into_iter().flatten().flatten().map(|e| e.id);
        ids.filter(|id| !assigned.iter().any(|d| d.emulated_id() == *id))
            .collect()
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
