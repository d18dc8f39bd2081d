//! Takes PCI devices from domains and gives them back.

use super::chip::{Chip, Gpu, NVIDIA};
use super::device::Device;
use super::error::{DeviceError, DeviceProblem};
use super::policy::Policy;
use super::toolstack::{GuestKind, Link, Toolstack};
use crate::carrier::Carrier;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often something is looked at that a guest or the toolstack has to do.
const TICK: Duration = Duration::from_millis(20);

/// The PCI devices of all domains.
pub struct Devices {
    carrier: Arc<dyn Carrier>,
    policy: Policy,
    /// One at a time with a domain's devices.
    locks: Mutex<BTreeMap<u32, Arc<Mutex<()>>>>,
}

impl Devices {
    /// Those that `carrier` knows, handled as `policy` says.
    pub fn new(carrier: Arc<dyn Carrier>, policy: Policy) -> Self {
        Devices {
            carrier,
            policy,
            locks: Mutex::default(),
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
        toolstack
            .set_away(domid, &devices)
            .map_err(|e| DeviceProblem::Unnoted(e).of(domid))?;
        for device in devices.iter().rev() {
            let started = Instant::now();
            toolstack
                .detach(domid, device)
                .and_then(|()| let_go(toolstack, domid, device, self.policy.timeout))
                .map_err(|error| {
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
    /// whether there was anything to do.
    pub fn bring_back(&self, domid: u32) -> Result<bool, DeviceError> {
        let Some(toolstack) = self.toolstack() else {
            return Ok(false);
        };
        let lock = self.lock_of(domid);
        let _alone = lock.lock().unwrap_or_else(|e| e.into_inner());
        let started = Instant::now();
        let unread = |e| DeviceProblem::Unread(e).of(domid);
        let away = toolstack.away(domid).map_err(unread)?;
        let here = toolstack.assigned(domid).map_err(unread)?;
        let missing: Vec<Device> = match away.is_empty() {
            false => away
                .iter()
                .filter(|d| !here.iter().any(|h| h.bdf == d.bdf))
                .cloned()
                .collect(),
            true if here.is_empty() => self.policy.to_attach(toolstack, domid).map_err(unread)?,
            true => Vec::new(),
        };
        for device in &missing {
            toolstack.attach(domid, device).map_err(|error| {
                let device = device.to_string();
                DeviceProblem::NotAttached { device, error }.of(domid)
            })?;
        }
        // One that was running when its device came has heard of it.
        let woken = connect(toolstack, domid, missing.is_empty(), self.policy.timeout)?;
        if away.is_empty() && missing.is_empty() && !woken {
            return Ok(false);
        }
        let devices = toolstack.assigned(domid).map_err(unread)?;
        self.policy.after_attach.run(toolstack, domid, &devices)?;
        toolstack
            .set_away(domid, &[])
            .map_err(|e| DeviceProblem::Unnoted(e).of(domid))?;
        log::info!(
            "domain {domid}: it has its {} PCI devices back after {:?}",
            devices.len(),
            started.elapsed()
        );
        Ok(true)
    }

    /// Whether the guest has its devices, so that it will also give them up.
    pub fn is_connected(&self, domid: u32) -> Result<bool, DeviceError> {
        let Some(toolstack) = self.toolstack() else {
            return Ok(true);
        };
        let failed = |e| DeviceProblem::Link(e).of(domid);
        Ok(toolstack.kind(domid).map_err(failed)? != GuestKind::Pv
            || toolstack.link(domid).map_err(failed)? != Link::Waiting)
    }
}

/// `xl pci-detach` reports success also where the guest has not answered.
fn let_go(
    toolstack: &dyn Toolstack,
    domid: u32,
    device: &Device,
    patience: Duration,
) -> io::Result<()> {
    wait(patience, || {
        let left = toolstack.assigned(domid)?;
        Ok(!left.iter().any(|d| d.bdf == device.bdf))
    })?
    .then_some(())
    .ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the guest has not let go of it within {patience:?}"),
        )
    })
}

/// Waits until a paravirtual guest has taken what is assigned to it; whether that was needed. `slept`: its device may have
/// come before the guest ran.
fn connect(
    toolstack: &dyn Toolstack,
    domid: u32,
    slept: bool,
    patience: Duration,
) -> Result<bool, DeviceError> {
    let failed = |e| DeviceProblem::Link(e).of(domid);
    let has_pcifront = toolstack.kind(domid).map_err(failed)? == GuestKind::Pv;
    if !has_pcifront || toolstack.link(domid).map_err(failed)? != Link::Waiting {
        return Ok(false);
    }
    if slept {
        toolstack.wake(domid).map_err(failed)?;
    }
    let connected = wait(patience, || Ok(toolstack.link(domid)? == Link::Connected));
    match connected.map_err(failed)? {
        true => Ok(true),
        false => Err(DeviceProblem::NotTaken(patience).of(domid)),
    }
}

/// Whether it came to be so within `patience`.
fn wait(patience: Duration, mut is_so: impl FnMut() -> io::Result<bool>) -> io::Result<bool> {
    let started = Instant::now();
    while !is_so()? {
        if started.elapsed() >= patience {
            return Ok(false);
        }
        std::thread::sleep(TICK);
    }
    Ok(true)
}
