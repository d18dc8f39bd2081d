//! PCI devices through stock `xl` and libxl's nodes.
//!
//! The commands may run while `xl migrate` or `xl save` of the same domain is under way: libxl holds no lock of the domain during a
//! save (`libxl__lock_domain_userdata` is taken by `libxl_pci.c` and for the configuration, not in `libxl_dom_save.c`).

use super::domains::guard;
use super::store::XenStore;
use super::{configuration, helper, hvm, processes, pv, sysfs};
use crate::passthrough::chip::{self, Gpu};
use crate::passthrough::command;
use crate::passthrough::device::Device;
use crate::passthrough::kind::GuestKind;
use crate::passthrough::taken::Taken;
use crate::passthrough::toolstack::{Configuration, Emulated, InDom0, Link, Toolstack};
use channel::xenstore;
use host::helper::HelperState;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// `xl` itself waits 10 s for a guest (`LIBXL_DESTROY_TIMEOUT`), twice in a detach.
const XL_PATIENCE: Duration = Duration::from_secs(60);

/// QEMU answers at once unless it hangs; libxl waits for it without end.
const MONITOR_PATIENCE: Duration = Duration::from_secs(10);

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

fn record_node(domid: u32) -> String {
    format!("{}/{}", xenstore::control(domid), xenstore::control::PCI)
}

impl Toolstack for Xl {
    fn assigned(&self, domid: u32) -> io::Result<Vec<Device>> {
        let folder = pv::backend(domid);
        let read = |name: String| self.store.read(&format!("{folder}/{name}"));
        let count = read("num_devs".into())?.and_then(|n| n.parse().ok());
        let mut devices = Vec::new();
        for n in 0..count.unwrap_or(0).min(pv::MAX_DEVICES) {
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
        let node = format!("/libxl/{domid}/type");
        let kind = self.store.read(&node)?.unwrap_or_default();
        kind.parse()
            .map_err(|e| io::Error::other(format!("{node}: {e}")))
    }

    fn link(&self, domid: u32) -> io::Result<Link> {
        pv::link(&self.store, domid)
    }

    fn emulated(&self, domid: u32) -> io::Result<Vec<Emulated>> {
        let arguments = ["qemu-monitor-command", &domid.to_string(), hvm::LIST];
        hvm::emulated(&command::run("xl", &arguments, &[], MONITOR_PATIENCE)?)
    }

    fn wake(&self, domid: u32, kind: GuestKind) -> io::Result<()> {
        match kind {
            GuestKind::Pv => pv::wake(&self.store, domid),
            GuestKind::Pvh => Ok(()),
            GuestKind::Hvm => hvm::wake(domid),
        }
    }

    fn attach(&self, domid: u32, device: &Device) -> io::Result<()> {
        self.run(&["pci-attach", &domid.to_string(), &device.spec()])
            .map(drop)
    }

    fn detach(&self, domid: u32, device: &Device) -> io::Result<()> {
        self.run(&["pci-detach", &domid.to_string(), &device.bdf])
            .map(drop)
    }

    fn drop_stale(&self, domid: u32, device: &Device) -> io::Result<()> {
        self.run(&["pci-detach", "-f", &domid.to_string(), &device.bdf])
            .map(drop)
    }

    fn unplug(&self, domid: u32, device: &Device) -> io::Result<()> {
        let unplug = format!("device_del {}", device.emulated_id());
        let arguments = ["qemu-monitor-command", &domid.to_string(), &unplug];
        command::run("xl", &arguments, &[], MONITOR_PATIENCE).map(drop)
    }

    fn has_let_go(&self, domid: u32, device: &Device) -> io::Result<bool> {
        pv::has_let_go(&self.store, domid, device)
    }

    fn is_at_work(&self, domid: u32) -> io::Result<bool> {
        let name = self.name(domid)?;
        processes::any(Path::new("/proc"), |words| {
            processes::is_xl_for(words, &domid.to_string(), &name)
        })
    }

    fn owner(&self, device: &Device) -> io::Result<Option<u32>> {
        for domid in self.store.list(&pv::backends())? {
            if let Ok(domid) = domid.parse()
                && self.assigned(domid)?.iter().any(|d| d.bdf == device.bdf)
            {
                return Ok(Some(domid));
            }
        }
        Ok(None)
    }

    fn configuration(&self, domid: u32) -> io::Result<Configuration> {
        configuration::parse(&self.run(&["list", "-l", &domid.to_string()])?)
    }

    fn in_dom0(&self, device: &Device) -> InDom0 {
        sysfs::in_dom0(&Path::new(chip::SYSFS).join(&device.bdf))
    }

    fn gpus(&self) -> Vec<Gpu> {
        chip::gpus(Path::new(chip::SYSFS))
    }

    fn libxenguest(&self) -> io::Result<String> {
        helper::libxenguest()
    }

    fn save_helper(&self) -> Option<HelperState> {
        Some(host::helper::running().ok()?.state)
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

    fn record(&self, domid: u32) -> io::Result<Vec<Taken>> {
        match self.store.read(&record_node(domid))? {
            None => Ok(Vec::new()),
            Some(text) => serde_json::from_str(&text)
                .map_err(|e| io::Error::other(format!("{}: {e}", record_node(domid)))),
        }
    }

    fn set_record(&self, domid: u32, record: &[Taken]) -> io::Result<()> {
        let (guard, path) = (guard(domid), record_node(domid));
        let there = match record {
            [] => self.store.remove_under(&guard, &path)?,
            _ => self
                .store
                .write_under(&guard, &path, &serde_json::to_string(record)?)?,
        };
        match there || record.is_empty() {
            true => Ok(()),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
