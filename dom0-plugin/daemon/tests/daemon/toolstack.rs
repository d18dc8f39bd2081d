//! A carrier whose domain has PCI devices, as a test says.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use channel::bus::Bus;
use channel::image::SessionId;
use channel::link::{Peer, Residence};
use daemon::carrier::{Carrier, Domain, Sessions};
use daemon::loopback::LoopbackCarrier;
use daemon::passthrough::chip::Gpu;
use daemon::passthrough::device::Device;
use daemon::passthrough::kind::GuestKind;
use daemon::passthrough::taken::Taken;
use daemon::passthrough::toolstack::{Configuration, Emulated, InDom0, Link, Toolstack};
use protocol::progress::Progress;
use protocol::status::PublishedState;

/// Vendor and device of the domain's device.
pub const ID: (u16, u16) = (0x1234, 0x11e8);

/// What the test and the toolstack share.
pub struct Pci {
    pub assigned: Vec<Device>,
    pub record: Vec<Taken>,
    /// The record when a device was last detached.
    pub record_at_detach: Vec<Taken>,
    pub kind: GuestKind,
    pub link: Link,
    /// What an HVM guest's device model has; `None`: it cannot be asked.
    pub emulated: Option<Vec<Emulated>>,
    /// Called when an HVM guest is woken.
    pub when_woken: Option<Box<dyn Fn() + Send>>,
    /// `xl` gives up before the guest lets go.
    pub detach_fails: bool,
    /// What `xl pci-attach` says instead of attaching.
    pub attach_fails: Option<String>,
    /// The one device that it says so of; all if `None`.
    pub fails_for: Option<Device>,
    /// A paravirtual guest does not hear when it is woken.
    pub is_deaf: bool,
    /// It has given up what is listed.
    pub has_let_go: bool,
    /// Somebody else's `xl` runs.
    pub is_at_work: bool,
    /// Who has the device.
    pub owner: Option<u32>,
    /// `None`: there is no `xl`.
    pub configuration: Option<Configuration>,
    pub in_dom0: InDom0,
    /// The host's GPUs.
    pub gpus: Vec<Gpu>,
    pub libxenguest: String,
    /// What was asked of it, in order.
    pub done: Vec<String>,
}

impl Pci {
    /// As after a detach: they are on record, and nobody has them.
    pub fn take_all(&mut self) {
        let taken = std::mem::take(&mut self.assigned);
        taken.iter().for_each(|device| unplug(self, device));
        self.record = taken.into_iter().map(Taken::from).collect();
    }

    /// Which are on record.
    pub fn away(&self) -> Vec<Device> {
        self.record.iter().map(|t| t.device.clone()).collect()
    }
}

impl Default for Pci {
    fn default() -> Self {
        Pci {
            assigned: Vec::new(),
            record: Vec::new(),
            record_at_detach: Vec::new(),
            kind: GuestKind::Pv,
            link: Link::Connected,
            emulated: Some(Vec::new()),
            when_woken: None,
            detach_fails: false,
            attach_fails: None,
            fails_for: None,
            is_deaf: false,
            has_let_go: false,
            is_at_work: false,
            owner: None,
            configuration: Some(Configuration {
                passthrough: true,
                devices: 1,
            }),
            in_dom0: InDom0 {
                exists: true,
                resets: true,
                driver: Some("pciback".into()),
                id: Some(ID),
                class: Some(0x03),
                largest_bar: 1 << 20,
                is_dead: false,
            },
            gpus: Vec::new(),
            libxenguest: "/usr/lib/libxenguest.so.4.17".into(),
            done: Vec::new(),
        }
    }
}

#[derive(Clone, Default)]
pub struct FakeToolstack(Arc<Mutex<Pci>>);

impl FakeToolstack {
    pub fn pci(&self) -> MutexGuard<'_, Pci> {
        self.0.lock().unwrap()
    }
}

pub fn plug(pci: &mut Pci, device: &Device) {
    if let Some(emulated) = &mut pci.emulated {
        emulated.push(Emulated {
            id: device.emulated_id(),
            is_mapped: true,
        });
    }
}

/// The guest ejects it.
pub fn unplug(pci: &mut Pci, device: &Device) {
    if let Some(emulated) = &mut pci.emulated {
        emulated.retain(|e| e.id != device.emulated_id());
    }
}

impl Toolstack for FakeToolstack {
    fn assigned(&self, _: u32) -> io::Result<Vec<Device>> {
        Ok(self.pci().assigned.clone())
    }

    fn kind(&self, _: u32) -> io::Result<GuestKind> {
        Ok(self.pci().kind)
    }

    fn link(&self, _: u32) -> io::Result<Link> {
        Ok(self.pci().link)
    }

    fn emulated(&self, _: u32) -> io::Result<Vec<Emulated>> {
        let unasked = || io::Error::other("no monitor");
        self.pci().emulated.clone().ok_or_else(unasked)
    }

    fn wake(&self, _: u32, kind: GuestKind) -> io::Result<()> {
        let mut pci = self.pci();
        match kind {
            GuestKind::Hvm => {
                pci.done.push("pulse".into());
                pci.when_woken.iter().for_each(|woken| woken());
            }
            _ if pci.is_deaf => pci.done.push("wake".into()),
            _ => pci.link = Link::Connected,
        }
        Ok(())
    }

    fn attach(&self, _: u32, device: &Device) -> io::Result<()> {
        let mut pci = self.pci();
        pci.done.push(format!("attach {}", device.bdf));
        if let Some(said) = &pci.attach_fails
            && pci.fails_for.as_ref().is_none_or(|d| d == device)
        {
            return Err(io::Error::other(said.clone()));
        }
        let id = device.emulated_id();
        if pci.emulated.iter().flatten().any(|e| e.id == id) {
            return Err(io::Error::other(format!("Duplicate device ID {id}")));
        }
        plug(&mut pci, device);
        pci.assigned.push(device.clone());
        Ok(())
    }

    fn detach(&self, _: u32, device: &Device) -> io::Result<()> {
        let mut pci = self.pci();
        pci.done.push(format!("detach {}", device.bdf));
        pci.record_at_detach = pci.record.clone();
        if pci.detach_fails {
            return Err(io::Error::other("timed out"));
        }
        pci.assigned.retain(|d| d != device);
        unplug(&mut pci, device);
        Ok(())
    }

    fn drop_stale(&self, _: u32, device: &Device) -> io::Result<()> {
        let mut pci = self.pci();
        pci.done.push(format!("drop {}", device.bdf));
        pci.assigned.retain(|d| d != device);
        pci.has_let_go = false;
        Ok(())
    }

    fn unplug(&self, _: u32, device: &Device) -> io::Result<()> {
        let mut pci = self.pci();
        pci.done.push(format!("unplug {}", device.bdf));
        unplug(&mut pci, device);
        Ok(())
    }

    fn has_let_go(&self, _: u32, _: &Device) -> io::Result<bool> {
        Ok(self.pci().has_let_go)
    }

    fn is_at_work(&self, _: u32) -> io::Result<bool> {
        Ok(self.pci().is_at_work)
    }

    fn owner(&self, _: &Device) -> io::Result<Option<u32>> {
        Ok(self.pci().owner)
    }

    fn configuration(&self, _: u32) -> io::Result<Configuration> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "xl: no such file");
        self.pci().configuration.ok_or_else(missing)
    }

    fn in_dom0(&self, _: &Device) -> InDom0 {
        self.pci().in_dom0.clone()
    }

    fn gpus(&self) -> Vec<Gpu> {
        self.pci().gpus.clone()
    }

    fn libxenguest(&self) -> io::Result<String> {
        Ok(self.pci().libxenguest.clone())
    }

    fn is_running(&self, _: u32) -> io::Result<bool> {
        Ok(true)
    }

    fn name(&self, _: u32) -> io::Result<String> {
        Ok("loopback".into())
    }

    fn record(&self, _: u32) -> io::Result<Vec<Taken>> {
        Ok(self.pci().record.clone())
    }

    fn set_record(&self, _: u32, record: &[Taken]) -> io::Result<()> {
        self.pci().record = record.to_vec();
        Ok(())
    }
}

/// Programs by loopback, devices by the fake.
pub struct WithDevices {
    pub programs: LoopbackCarrier,
    pub toolstack: FakeToolstack,
}

impl Carrier for WithDevices {
    fn name(&self) -> &'static str {
        "loopback"
    }

    fn toolstack(&self) -> Option<&dyn Toolstack> {
        Some(&self.toolstack)
    }

    fn domains(&self) -> io::Result<Vec<Domain>> {
        self.programs.domains()
    }

    fn sessions(&self, domid: u32) -> io::Result<Sessions> {
        self.programs.sessions(domid)
    }

    fn peer(&self, domid: u32, session: SessionId) -> io::Result<Box<dyn Peer>> {
        self.programs.peer(domid, session)
    }

    fn is_open(&self, domid: u32, session: SessionId) -> io::Result<bool> {
        self.programs.is_open(domid, session)
    }

    fn look(
        &self,
        domid: u32,
        session: SessionId,
        rescan: bool,
        patience: Duration,
    ) -> io::Result<Option<Bus>> {
        self.programs.look(domid, session, rescan, patience)
    }

    fn await_state(
        &self,
        domid: u32,
        session: SessionId,
        wanted: Residence,
        patience: Duration,
    ) -> bool {
        self.programs.await_state(domid, session, wanted, patience)
    }

    fn identity(&self, domid: u32) -> io::Result<Option<String>> {
        self.programs.identity(domid)
    }

    fn tell(&self, domid: u32, state: PublishedState, error: Option<&str>) {
        self.programs.tell(domid, state, error);
    }

    fn tell_progress(&self, domid: u32, progress: Option<&Progress>) {
        self.programs.tell_progress(domid, progress);
    }

    fn tell_session(&self, domid: u32, session: SessionId, error: &str) {
        self.programs.tell_session(domid, session, error);
    }

    fn acknowledge(&self, domid: u32) {
        self.programs.acknowledge(domid);
    }

    fn forget(&self, domid: u32, session: SessionId) -> io::Result<()> {
        self.programs.forget(domid, session)
    }
}
