//! PCI devices through stock `xl` and libxl's nodes.
//!
//! The commands may run while `xl migrate` or `xl save` of the same domain is under way: libxl holds no lock of the domain during a
//! save (`libxl__lock_domain_userdata` is taken by `libxl_pci.c` and for the configuration, not in `libxl_dom_save.c`).

use super::domains::guard;
use super::store::XenStore;
use super::{configuration, helper};
use crate::passthrough::chip::{self, Gpu};
use crate::passthrough::command;
use crate::passthrough::device::Device;
use crate::passthrough::toolstack::{Configuration, GuestKind, InDom0, Link, Toolstack};
use channel::xenstore;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Most devices of a domain that are looked at.
const MAX_DEVICES: u32 = 64;
/// `xl` itself waits 10 s for a guest (`LIBXL_DESTROY_TIMEOUT`), twice in a detach.
const XL_PATIENCE: Duration = Duration::from_secs(60);
/// `XenbusStateConnected` of `xen/include/public/io/xenbus.h`.
const CONNECTED: &str = "4";

/// Stock `xl`.
pub struct Xl {
    store: Arc<XenStore>,
}

impl Xl {
    /// Reads libxl's nodes in `store`.
    pub fn new(store: Arc<XenStore>) -> Self {
        Xl { store }
    }

    fn run(&self, arguments: &[&str]) -> io::Result<String> {
        command::run("xl", arguments, &[], XL_PATIENCE)
    }
}

fn backend(domid: u32) -> String {
    format!("{}/backend/pci/{domid}/0", xenstore::home(0))
}

fn frontend(domid: u32) -> String {
    format!("{}/device/pci/0", xenstore::home(domid))
}

fn record(domid: u32) -> String {
    format!("{}/{}", xenstore::control(domid), xenstore::control::PCI)
}

impl Toolstack for Xl {
    fn assigned(&self, domid: u32) -> io::Result<Vec<Device>> {
        let folder = backend(domid);
        let read = |name: String| self.store.read(&format!("{folder}/{name}"));
        let count = read("num_devs".into())?.and_then(|n| n.parse().ok());
        let mut devices = Vec::new();
        for n in 0..count.unwrap_or(0).min(MAX_DEVICES) {
            let Some(bdf) = read(format!("dev-{n}"))? else {
                continue; // being removed
            };
            let vdevfn = read(format!("vdevfn-{n}"))?;
            let vdevfn = vdevfn.and_then(|v| u32::from_str_radix(&v, 16).ok());
            devices.push(Device {
                bdf,
                name: read(format!("name-{n}"))?,
                vslot: vdevfn.map(|v| v >> 3),
                options: read(format!("opts-{n}"))?.unwrap_or_default(),
            });
        }
        Ok(devices)
    }

    fn kind(&self, domid: u32) -> io::Result<GuestKind> {
        match self.store.read(&format!("/libxl/{domid}/type"))?.as_deref() {
            Some("pv") => Ok(GuestKind::Pv),
            Some("pvh") => Ok(GuestKind::Pvh),
            _ => Ok(GuestKind::Hvm),
        }
    }

    fn link(&self, domid: u32) -> io::Result<Link> {
        let ends = [backend(domid), frontend(domid)];
        let mut states = Vec::new();
        for end in ends {
            states.push(self.store.read(&format!("{end}/state"))?);
        }
        Ok(match &states[..] {
            [None, _] => Link::None,
            [Some(back), Some(front)] if back == CONNECTED && front == CONNECTED => Link::Connected,
            _ => Link::Waiting,
        })
    }

    fn wake(&self, domid: u32) -> io::Result<()> {
        // The same value again: Linux looks at a device of which a node fires, but not at the folder above.
        let state = format!("{}/state", frontend(domid));
        self.store.touch(&state).map(drop)
    }

    fn attach(&self, domid: u32, device: &Device) -> io::Result<()> {
        self.run(&["pci-attach", &domid.to_string(), &device.spec()])
            .map(drop)
    }

    fn detach(&self, domid: u32, device: &Device) -> io::Result<()> {
        self.run(&["pci-detach", &domid.to_string(), &device.bdf])
            .map(drop)
    }

    fn configuration(&self, domid: u32) -> io::Result<Configuration> {
        configuration::parse(&self.run(&["list", "-l", &domid.to_string()])?)
    }

    fn in_dom0(&self, device: &Device) -> InDom0 {
        let folder = Path::new("/sys/bus/pci/devices").join(&device.bdf);
        let driver = std::fs::read_link(folder.join("driver")).ok();
        InDom0 {
            exists: folder.exists(),
            resets: folder.join("reset").exists(),
            driver: driver.and_then(|d| Some(d.file_name()?.to_string_lossy().into_owned())),
        }
    }

    fn gpus(&self) -> Vec<Gpu> {
        chip::gpus(Path::new(chip::SYSFS))
    }

    fn libxenguest(&self) -> io::Result<String> {
        helper::libxenguest()
    }

    fn is_running(&self, domid: u32) -> io::Result<bool> {
        if self.store.read(&guard(domid))?.is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let list = self.run(&["list", &domid.to_string()])?;
        // Name, ID, memory, VCPUs, state, time; the state's letters are r, b, p, s(hutdown), c, d.
        let state = list.lines().nth(1).and_then(|line| {
            let mut words = line.split_whitespace().rev();
            words.nth(1)
        });
        match state {
            Some(state) => Ok(!state.contains(['s', 'c', 'd'])),
            None => Err(io::Error::other(format!("`xl list {domid}` says {list:?}"))),
        }
    }

    fn name(&self, domid: u32) -> io::Result<String> {
        let name = self
            .store
            .read(&format!("{}/name", xenstore::home(domid)))?;
        Ok(name.unwrap_or_default())
    }

    fn away(&self, domid: u32) -> io::Result<Vec<Device>> {
        match self.store.read(&record(domid))? {
            None => Ok(Vec::new()),
            Some(text) => serde_json::from_str(&text)
                .map_err(|e| io::Error::other(format!("{}: {e}", record(domid)))),
        }
    }

    fn set_away(&self, domid: u32, devices: &[Device]) -> io::Result<()> {
        let (guard, path) = (guard(domid), record(domid));
        let there = match devices {
            [] => self.store.remove_under(&guard, &path)?,
            _ => self
                .store
                .write_under(&guard, &path, &serde_json::to_string(devices)?)?,
        };
        match there || devices.is_empty() {
            true => Ok(()),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
