//! The devices on the guest's PCI bus, by its kernel's word in `/sys`, which every process may read.

use channel::bus::{BusDevice, MAX_MODULES, Module};
use std::fs;
use std::path::Path;

/// Where the kernel tells.
pub const SYSFS: &str = "/sys";

/// PCI's base class of bridges, and those of display controllers and processing accelerators.
const BRIDGE: u32 = 0x06;
const GPUS: [u32; 2] = [0x03, 0x12];

/// `include/linux/ioport.h`
const IORESOURCE_MEM: u64 = 0x200;
const IORESOURCE_UNSET: u64 = 0x2000_0000;
/// Lines of `resource` that are BARs: the expansion ROM and a bridge's windows come after them.
const BARS: usize = 6;

/// Those that are no bridges, GPUs first; `None` where they cannot be seen.
pub fn devices(sysfs: &Path) -> Option<Vec<BusDevice>> {
    let entries = fs::read_dir(sysfs.join("bus/pci/devices")).ok()?;
    let seen = entries.flatten().filter_map(|entry| {
        let folder = entry.path();
        let class = number(&folder.join("class"))? >> 16;
        (class != BRIDGE).then_some(())?;
        let device = device(sysfs, &folder, entry.file_name().to_str()?)?;
        Some((!GPUS.contains(&class), device))
    });
    let mut seen: Vec<(bool, BusDevice)> = seen.collect();
    seen.sort_by(|(a_is_other, a), (b_is_other, b)| {
        (a_is_other, &a.address).cmp(&(b_is_other, &b.address))
    });
    Some(seen.into_iter().map(|(_, device)| device).collect())
}

fn device(sysfs: &Path, folder: &Path, address: &str) -> Option<BusDevice> {
    let id = |name: &str| number(&folder.join(name))?.try_into().ok();
    let driver = folder.join("driver");
    let name = |link: &Path| {
        let target = fs::read_link(link).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    };
    Some(BusDevice {
        vendor: id("vendor")?,
        device: id("device")?,
        address: address.to_owned(),
        unplaced: unplaced(&fs::read_to_string(folder.join("resource")).unwrap_or_default()),
        driver: name(&driver),
        was: None,
        modules: name(&driver.join("module"))
            .map(|module| modules(sysfs, module))
            .unwrap_or_default(),
    })
}

/// A driver's module and those above it: what they hold keeps the device. References of one module to another are not counted.
fn modules(sysfs: &Path, first: String) -> Vec<Module> {
    let mut found: Vec<Module> = Vec::new();
    let mut names = vec![first];
    while let Some(name) = names.pop()
        && found.len() < MAX_MODULES
    {
        if found.iter().any(|m| m.name == name) {
            continue;
        }
        let folder = sysfs.join("module").join(&name);
        let holders = fs::read_dir(folder.join("holders")).into_iter().flatten();
        let holders: Vec<String> = holders
            .flatten()
            .filter_map(|h| h.file_name().into_string().ok())
            .collect();
        // No file where it cannot be unloaded.
        let count = fs::read_to_string(folder.join("refcnt")).unwrap_or_default();
        let count: u32 = count.trim().parse().unwrap_or(0);
        found.push(Module {
            name,
            references: count.saturating_sub(holders.len() as u32),
        });
        names.extend(holders);
    }
    found
}

/// Bytes of the largest memory BAR without a place, from a device's file `resource`: `start end flags` in each line.
fn unplaced(resource: &str) -> u64 {
    let size = |line: &str| {
        let mut numbers = line.split(' ').map(hexadecimal);
        let (start, end, flags) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let is_bar = flags & IORESOURCE_MEM != 0 && end > start;
        let has_place = start != 0 && flags & IORESOURCE_UNSET == 0;
        (is_bar && !has_place).then(|| end - start + 1)
    };
    let sizes = resource.lines().take(BARS).filter_map(size);
    sizes.max().unwrap_or(0)
}

fn number(file: &Path) -> Option<u32> {
    let text = fs::read_to_string(file).ok()?;
    hexadecimal(text.trim())?.try_into().ok()
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn devices_their_drivers_and_who_uses_them() {
        let sysfs = std::env::temp_dir().join(format!("xl-gpu-bus-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = sysfs.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let add = |bdf: &str, class: &str, resource: &str| {
            for (name, text) in [("class", class), ("vendor", "0x10de"), ("device", "0x2335")] {
                write(
                    &format!("bus/pci/devices/{bdf}/{name}"),
                    &format!("{text}\n"),
                );
            }
            write(&format!("bus/pci/devices/{bdf}/resource"), resource);
        };
        add("0000:00:00.0", "0x060000", "");
        add("0000:00:03.0", "0x00ff00", "0x0 0xfffff 0x40200\n");
        add(
            "0000:00:05.0",
            "0x030200",
            "0xf000 0xf0ff 0x40200\n0x0 0x0 0x0\n",
        );
        write("drivers/nvidia/x", "");
        for (module, count) in [("nvidia", 5), ("nvidia_uvm", 1), ("nvidia_drm", 0)] {
            write(&format!("module/{module}/refcnt"), &format!("{count}\n"));
        }
        write("module/nvidia/holders/nvidia_uvm", "");
        write("module/nvidia/holders/nvidia_drm", "");
        symlink(
            sysfs.join("drivers/nvidia"),
            sysfs.join("bus/pci/devices/0000:00:05.0/driver"),
        )
        .unwrap();
        symlink(
            sysfs.join("module/nvidia"),
            sysfs.join("drivers/nvidia/module"),
        )
        .unwrap();
        let mut found = devices(&sysfs).unwrap();
        fs::remove_dir_all(&sysfs).unwrap();
        found[0].modules.sort_by(|a, b| a.name.cmp(&b.name));
        let shown: Vec<_> = found.iter().map(|d| (&*d.address, d.unplaced)).collect();
        assert_eq!(shown, [("0000:00:05.0", 0), ("0000:00:03.0", 0x10_0000)]);
        assert_eq!(found[0].driver.as_deref(), Some("nvidia"));
        let counts: Vec<_> = found[0].modules.iter().map(|m| m.references).collect();
        assert_eq!(counts, [3, 0, 1], "nvidia, nvidia_drm, nvidia_uvm");
        assert!(found[1].modules.is_empty());
    }

    #[test]
    fn a_bar_without_a_place_is_told() {
        let placed = "0x00000000f3000000 0x00000000f30fffff 0x0000000000040200\n";
        // As Linux shows one for which it found no room, and one that it has not come to yet.
        let unset = "0x0000000000000000 0x00000000ffffffff 0x000000002014220c\n";
        let none = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n";
        assert_eq!(unplaced(&[placed, none].concat()), 0);
        assert_eq!(unplaced(&[placed, none, unset].concat()), 4 << 30);
        let rom = "0x0000000000000000 0x000000000007ffff 0x0000000000046200\n";
        assert_eq!(unplaced(&[&*none.repeat(BARS), rom].concat()), 0);
    }
}
