//! Which GPUs a host has, as its kernel sees them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::Path;

/// Where Linux lists PCI devices.
pub const SYSFS: &str = "/sys/bus/pci/devices";

/// Where distributions keep the names of vendors and devices.
const NAMES: [&str; 2] = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"];

/// PCI's vendor id.
const NVIDIA: u16 = 0x10de;

/// PCI's base classes of display controllers and of processing accelerators; the display controllers' class without a screen.
const DISPLAY: u32 = 0x03;
const ACCELERATOR: u32 = 0x12;
const COMPUTES_ONLY: u32 = 0x0302;

/// A kind of GPU: what `lspci -nn` shows in brackets, and its name where that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chip {
    /// PCI's vendor id.
    pub vendor: u16,
    /// The vendor's device id.
    pub device: u16,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

impl Chip {
    /// Whether a driver's state goes from the one to the other.
    pub fn is_same_as(&self, other: &Chip) -> bool {
        (self.vendor, self.device) == (other.vendor, other.device)
    }

    /// Whether programs may use it by CUDA.
    pub fn has_cuda(&self) -> bool {
        self.vendor == NVIDIA
    }
}

impl fmt::Display for Chip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            write!(f, "{} ", protocol::text::clean(&self.name))?;
        }
        write!(f, "[{:04x}:{:04x}]", self.vendor, self.device)
    }
}

/// A GPU of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its PCI address.
    pub bdf: String,
    pub chip: Chip,
    /// It is there to be given to guests: it has no screen, or `pciback` has it.
    pub is_for_guests: bool,
}

/// The host's GPUs, from a folder like [`SYSFS`]. What cannot be read is left out.
pub fn gpus(folder: &Path) -> Vec<Gpu> {
    let names = NAMES.iter().find_map(|file| fs::read_to_string(file).ok());
    let names = names.unwrap_or_default();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut gpus: Vec<Gpu> = entries
        .filter_map(|entry| gpu(&entry.path(), &names))
        .collect();
    gpus.sort_by(|a, b| a.bdf.cmp(&b.bdf));
    gpus
}

fn gpu(folder: &Path, names: &str) -> Option<Gpu> {
    let number = |file: &str| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
    };
    // Base class, class, interface.
    let class = number("class")?;
    if ![DISPLAY, ACCELERATOR].contains(&(class >> 16)) {
        return None;
    }
    let vendor = number("vendor")?.try_into().ok()?;
    let device = number("device")?.try_into().ok()?;
    let driver = fs::read_link(folder.join("driver")).unwrap_or_default();
    Some(Gpu {
        bdf: folder.file_name()?.to_str()?.to_owned(),
        chip: Chip {
            vendor,
            device,
            name: name(names, vendor, device).unwrap_or_default(),
        },
        is_for_guests: class >> 8 == COMPUTES_ONLY
            || class >> 16 == ACCELERATOR
            || driver.ends_with("pciback"),
    })
}

/// The name in a file `pci.ids`: a vendor's line, then its devices' behind a tab each.
fn name(names: &str, vendor: u16, device: u16) -> Option<String> {
    let (vendor, device) = (format!("{vendor:04x}  "), format!("\t{device:04x}  "));
    let mut lines = names.lines().skip_while(|line| !line.starts_with(&vendor));
    let maker = lines.next()?.strip_prefix(&vendor)?;
    let mut own = lines.take_while(|line| line.starts_with(['\t', '#']) || line.is_empty());
    let model = own.find_map(|line| line.strip_prefix(&device));
    Some(model.map_or_else(|| maker.to_owned(), |model| format!("{maker} {model}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn gpus_are_told_from_other_devices() {
        let folder = std::env::temp_dir().join(format!("xl-gpu-chips-{}", std::process::id()));
        let add = |bdf: &str, class: &str, device: &str, driver: &str| {
            let device_folder = folder.join(bdf);
            fs::create_dir_all(&device_folder).unwrap();
            fs::write(device_folder.join("class"), format!("0x{class}\n")).unwrap();
            fs::write(device_folder.join("vendor"), "0x10de\n").unwrap();
            fs::write(device_folder.join("device"), format!("0x{device}\n")).unwrap();
            symlink(format!("/drivers/{driver}"), device_folder.join("driver")).unwrap();
        };
        add("0000:3b:00.0", "030200", "2335", "nvidia");
        add("0000:3c:00.0", "030000", "2684", "pciback");
        add("0000:03:00.0", "030000", "2000", "ast");
        add("0000:04:00.0", "020000", "1234", "e1000");
        let found = gpus(&folder);
        fs::remove_dir_all(&folder).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|gpu| (gpu.bdf.as_str(), gpu.chip.device, gpu.is_for_guests))
            .collect();
        assert_eq!(
            found,
            [
                ("0000:03:00.0", 0x2000, false),
                ("0000:3b:00.0", 0x2335, true),
                ("0000:3c:00.0", 0x2684, true)
            ]
        );
    }

    #[test]
    fn names_are_their_vendors() {
        let names = "# comment\n1002  AMD\n\t2335  another\n10de  NVIDIA\n\t2330  GH100 [H100]\n\
                     \t\t10de 16c1  a board\n\t2335  GH100 [H200]\n10df  Emulex\n\t2336  not this\n";
        assert_eq!(name(names, 0x10de, 0x2335).unwrap(), "NVIDIA GH100 [H200]");
        assert_eq!(name(names, 0x10de, 0x2336).unwrap(), "NVIDIA");
        assert_eq!(name(names, 0x1234, 0x2335), None);
        let chip = Chip {
            vendor: 0x10de,
            device: 0x2335,
            name: String::new(),
        };
        assert_eq!(chip.to_string(), "[10de:2335]");
    }
}
