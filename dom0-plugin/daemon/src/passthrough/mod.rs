//! PCI devices of a domain that moves: away before Xen tracks its writes, back before its programs get their GPU state.
//!
//! ```text
//!  source                                        destination
//!  pre-flight: the guest has its devices
//!  GPU rounds, stop, unload: no holder left
//!  send_away: record, hook, xl pci-detach
//!  log-dirty, memory, suspend ─────────────────> libxl builds the domain and assigns what its configuration lists
//!                                                 the guest runs, its sessions answer
//!  (if it is resumed here: bring_back)           bring_back: wake pcifront, or attach by policy; hook
//!                                                 sessions are served
//! ```
//!
//! The configuration leaves before the devices are detached, so it lists them (libxl compares it with XenStore when `xl` asks
//! for it). On the other host libxl assigns the devices of the same address or, better, of the same name
//! (`xl pci-assignable-add -n`, `pci=["name=…"]`): nothing has to be mapped here. But it makes pcifront's nodes while the
//! guest does not run yet, and Linux, when it is resumed, looks at none that it did not know: it has to be woken.
//!
//! What was taken stands in XenStore with the domain, so that it comes back even if this daemon dies in between, and is
//! forgotten with a domain that has left.

pub mod command;
pub mod device;
mod policy;
pub mod toolstack;

pub use policy::Policy;

use super::Daemon;
use device::Device;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use toolstack::{GuestKind, Link, Toolstack};

/// How often something is looked at that a guest or the toolstack has to do.
const TICK: Duration = Duration::from_millis(20);
/// How often a suspended domain is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// The longest time between two attempts to attach.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// One at a time with a domain's devices.
#[derive(Debug, Default)]
pub struct Locks(Mutex<BTreeMap<u32, Arc<Mutex<()>>>>);

impl Locks {
    fn of(&self, domid: u32) -> Arc<Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        all.retain(|_, lock| Arc::strong_count(lock) > 1);
        all.entry(domid).or_default().clone()
    }
}

/// Devices that would have to leave with the domain.
pub fn assigned(daemon: &Daemon, domid: u32) -> Result<Vec<Device>, String> {
    match daemon.carrier.toolstack() {
        Some(toolstack) if daemon.settings.passthrough.detach => toolstack
            .assigned(domid)
            .map_err(|e| format!("the PCI devices of domain {domid} cannot be read: {e}")),
        _ => Ok(Vec::new()),
    }
}

/// Has the guest's devices detached; what they are, in order. On an error some may have gone: [`bring_back`] has to follow,
/// as after every success that the domain does not leave after.
pub fn send_away(daemon: &Daemon, domid: u32) -> Result<Vec<Device>, String> {
    let devices = assigned(daemon, domid)?;
    let Some(toolstack) = daemon.carrier.toolstack().filter(|_| !devices.is_empty()) else {
        return Ok(devices);
    };
    let lock = daemon.device_locks.of(domid);
    let _alone = lock.lock().unwrap_or_else(|e| e.into_inner());
    let policy = &daemon.settings.passthrough;
    policy.before_detach(toolstack, domid, &devices)?;
    toolstack
        .set_away(domid, &devices)
        .map_err(|e| format!("domain {domid}: its PCI devices cannot be noted: {e}"))?;
    for device in devices.iter().rev() {
        let started = Instant::now();
        toolstack
            .detach(domid, device)
            .and_then(|()| let_go(toolstack, domid, device, policy.timeout))
            .map_err(|e| format!("domain {domid}: PCI device {device} was not detached: {e}"))?;
        log::info!(
            "domain {domid}: PCI device {device} detached in {:?}",
            started.elapsed()
        );
    }
    Ok(devices)
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

/// Sees to it that a running domain has the devices it should have, and the guest uses them. Quick where that is so.
pub fn bring_back(daemon: &Daemon, domid: u32) -> Result<(), String> {
    let Some(toolstack) = daemon.carrier.toolstack() else {
        return Ok(());
    };
    let lock = daemon.device_locks.of(domid);
    let _alone = lock.lock().unwrap_or_else(|e| e.into_inner());
    let started = Instant::now();
    let policy = &daemon.settings.passthrough;
    let told = |e: io::Error| format!("domain {domid}: its PCI devices cannot be read: {e}");
    let away = toolstack.away(domid).map_err(told)?;
    let here = toolstack.assigned(domid).map_err(told)?;
    let missing: Vec<Device> = match away.is_empty() {
        false => away
            .iter()
            .filter(|d| !here.iter().any(|h| h.bdf == d.bdf))
            .cloned()
            .collect(),
        true if here.is_empty() => policy.to_attach(toolstack, domid).map_err(told)?,
        true => Vec::new(),
    };
    for device in &missing {
        toolstack
            .attach(domid, device)
            .map_err(|e| attach_failed(domid, device, &e))?;
    }
    // One that was running when its device came has heard of it.
    let woken = connect(toolstack, domid, missing.is_empty(), policy.timeout)?;
    if away.is_empty() && missing.is_empty() && !woken {
        return Ok(());
    }
    let devices = toolstack.assigned(domid).map_err(told)?;
    policy.after_attach(toolstack, domid, &devices)?;
    toolstack
        .set_away(domid, &[])
        .map_err(|e| format!("domain {domid}: {e}"))?;
    log::info!(
        "domain {domid}: it has its {} PCI devices back after {:?}",
        devices.len(),
        started.elapsed()
    );
    daemon.reports.attached(domid, started.elapsed());
    Ok(())
}

fn attach_failed(domid: u32, device: &Device, e: &io::Error) -> String {
    let advice = match e.to_string().contains("Operation not supported") {
        true => {
            "; was the domain built for passthrough? A configuration without pci=[…] needs the line passthrough=\"enabled\""
        }
        false => "; xl pci-assignable-list shows what can be attached",
    };
    format!("domain {domid}: PCI device {device} was not attached: {e}{advice}")
}

/// Waits until a paravirtual guest has taken what is assigned to it; whether that was needed. `slept`: its device may have
/// come before the guest ran.
fn connect(
    toolstack: &dyn Toolstack,
    domid: u32,
    slept: bool,
    patience: Duration,
) -> Result<bool, String> {
    let failed = |e: io::Error| format!("domain {domid}: its PCI devices: {e}");
    let paravirtual = toolstack.kind(domid).map_err(failed)? == GuestKind::Paravirtual;
    if !paravirtual || toolstack.link(domid).map_err(failed)? != Link::Waiting {
        return Ok(false);
    }
    if slept {
        toolstack.wake(domid).map_err(failed)?;
    }
    let connected = wait(patience, || Ok(toolstack.link(domid)? == Link::Connected));
    match connected.map_err(failed)? {
        true => Ok(true),
        false => Err(format!(
            "domain {domid}: the guest has not taken its PCI devices within {patience:?}; is the module xen-pcifront loaded there?"
        )),
    }
}

/// Whether the guest has its devices, so that it will also give them up.
pub fn is_connected(daemon: &Daemon, domid: u32) -> Result<bool, String> {
    let Some(toolstack) = daemon.carrier.toolstack() else {
        return Ok(true);
    };
    let failed = |e: io::Error| format!("domain {domid}: its PCI devices: {e}");
    Ok(
        toolstack.kind(domid).map_err(failed)? == GuestKind::Emulated
            || toolstack.link(domid).map_err(failed)? != Link::Waiting,
    )
}

/// Brings devices back in the background as soon as the domain runs, if it ever does again; nothing to do where none were
/// taken. Sessions that are served bring them back sooner.
pub fn when_resumed(daemon: &Arc<Daemon>, domid: u32) {
    match daemon.carrier.toolstack().map(|t| t.away(domid)) {
        None => return,
        Some(Ok(away)) if away.is_empty() => return,
        Some(Ok(_)) => {}
        Some(Err(e)) => log::error!("domain {domid}: {e}"),
    }
    let daemon = daemon.clone();
    std::thread::spawn(move || {
        let Some(toolstack) = daemon.carrier.toolstack() else {
            return;
        };
        let mut pause = LOOK;
        loop {
            std::thread::sleep(pause);
            // The next migration may have begun, and detached them for itself: then it brings them back.
            let Some(_claim) = daemon.claims.serving(domid) else {
                continue;
            };
            match toolstack.away(domid) {
                Ok(away) if away.is_empty() => return,
                Ok(_) => {}
                Err(e) => log::warn!("domain {domid}: {e}"),
            }
            match toolstack.is_running(domid) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return,
                Err(e) => {
                    log::warn!("domain {domid}: {e}");
                    pause = (pause * 2).min(LONGEST_RETRY);
                    continue;
                }
            }
            match bring_back(&daemon, domid) {
                Ok(()) => return super::serve::look(&daemon, domid),
                Err(e) => {
                    log::error!("{e}");
                    daemon.tell(domid, "failed", Some(&e));
                    pause = (pause * 2).min(LONGEST_RETRY);
                }
            }
        }
    });
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
