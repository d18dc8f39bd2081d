//! What the daemon needs of the toolstack to move a guest's PCI devices.

use super::chip::Gpu;
use super::device::Device;
use super::kind::GuestKind;
use super::taken::Taken;
use host::helper::HelperState;
use std::io;

/// Where pciback and pcifront are with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// There is no device.
    None,
    /// The guest does not use what there is (yet).
    Waiting,
    /// The guest has its devices.
    Connected,
}

/// A device that an HVM guest's device model passes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulated {
    /// libxl's name for it.
    pub id: String,
    /// The guest has given its BARs addresses and switched them on, or it has none.
    pub is_mapped: bool,
}

/// What a domain's configuration says of PCI devices, as it would travel now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configuration {
    /// It has an IOMMU context: devices can be assigned.
    pub passthrough: bool,
    /// Devices that it lists.
    pub devices: usize,
}

/// A device as dom0's kernel sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InDom0 {
    /// It is there at all.
    pub exists: bool,
    /// It can be reset.
    pub resets: bool,
    /// Name of its driver.
    pub driver: Option<String>,
    /// Its vendor and device ids, as of when dom0's kernel found it.
    pub id: Option<(u16, u16)>,
    /// Its base class.
    pub class: Option<u8>,
    /// Bytes of its largest memory BAR.
    pub largest_bar: u64,
    /// Its configuration space reads as ones: it has fallen off the bus, or does not come out of a reset.
    pub is_dead: bool,
}

impl InDom0 {
    /// Whether it may be what programs compute on: anything but what is known for something else (storage, network, sound, bridges,
    /// ports, system, serial buses, wireless).
    pub fn may_compute(&self) -> bool {
        const OTHERS: [u8; 8] = [0x01, 0x02, 0x04, 0x06, 0x07, 0x08, 0x0c, 0x0d];
        self.class.is_none_or(|class| !OTHERS.contains(&class))
    }
}

/// Assigns devices, and tells which are.
pub trait Toolstack: Send + Sync {
    /// Devices assigned to the domain, in the order in which they were.
    fn assigned(&self, domid: u32) -> io::Result<Vec<Device>>;
    /// The guest's type, which says how it meets them.
    fn kind(&self, domid: u32) -> io::Result<GuestKind>;
    /// How far a paravirtual guest and dom0 have come with them.
    fn link(&self, domid: u32) -> io::Result<Link>;
    /// What an HVM guest's device model passes through.
    fn emulated(&self, domid: u32) -> io::Result<Vec<Emulated>>;
    /// Has a guest of that kind look that missed its devices' coming: those of a domain just restored were there before it ran.
    fn wake(&self, domid: u32, kind: GuestKind) -> io::Result<()>;
    /// Assigns a device.
    fn attach(&self, domid: u32, device: &Device) -> io::Result<()>;
    /// Takes a device from the domain.
    fn detach(&self, domid: u32, device: &Device) -> io::Result<()>;
    /// Takes a device off the domain's list that its device model does not have any more.
    fn drop_stale(&self, domid: u32, device: &Device) -> io::Result<()>;
    /// Has an HVM guest's device model unplug a device that the toolstack does not list.
    fn unplug(&self, domid: u32, device: &Device) -> io::Result<()>;
    /// Whether a paravirtual guest has given up a device that the toolstack lists.
    fn has_let_go(&self, domid: u32, device: &Device) -> io::Result<bool>;
    /// Whether the toolstack attaches or detaches something of the domain's just now, for whomever.
    fn is_at_work(&self, domid: u32) -> io::Result<bool>;
    /// The domain that a device is assigned to.
    fn owner(&self, device: &Device) -> io::Result<Option<u32>>;
    /// What its configuration says of them. An error of kind `NotFound` where the toolstack itself is missing.
    fn configuration(&self, domid: u32) -> io::Result<Configuration>;
    /// Whether dom0 can reset a device between two owners, and the driver that has it now, where that can be told.
    fn in_dom0(&self, device: &Device) -> InDom0;
    /// The GPUs of this host, whoever has them.
    fn gpus(&self) -> Vec<Gpu>;
    /// Path of the libxenguest that the toolstack's save helper runs with.
    fn libxenguest(&self) -> io::Result<String>;
    /// Who runs when libxl starts that helper; `None` where it is not known.
    fn save_helper(&self) -> Option<HelperState> {
        None
    }
    /// Whether the domain's VCPUs run; false while it is suspended. An error of kind `NotFound` where it is gone.
    fn is_running(&self, domid: u32) -> io::Result<bool>;
    /// The domain's name.
    fn name(&self, domid: u32) -> io::Result<String>;
    /// Devices that were taken for a migration, and are to come back if the domain stays. Kept with the domain, over a
    /// restart of the daemon.
    fn record(&self, domid: u32) -> io::Result<Vec<Taken>>;
    /// Sets that list.
    fn set_record(&self, domid: u32, record: &[Taken]) -> io::Result<()>;
}
