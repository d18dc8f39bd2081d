//! What is on the guest's PCI bus, by its kernel's word in `/sys`: dom0 asks before it serves a session, and before it detaches
//! a device.

use crate::fork;
use crate::vendor::foreign::SESSION_THREAD;
use crate::vendor::snapshot::Snapshot;
use channel::bus::{Bus, BusDevice, MAX_MODULES, Module};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

const SYSFS: &str = "/sys";
/// Has the kernel look for devices that it does not know.
const RESCAN: &str = "bus/pci/rescan";

/// How long a scan is waited for.
const SCAN: Duration = Duration::from_secs(1);

/// PCI's base class of bridges, and those of display controllers and processing accelerators.
const BRIDGE: u32 = 0x06;
const GPUS: [u32; 2] = [0x03, 0x12];

/// `include/linux/ioport.h`
const IORESOURCE_MEM: u64 = 0x200;
const IORESOURCE_UNSET: u64 = 0x2000_0000;
/// Lines of `resource` that are BARs: the expansion ROM and a bridge's windows come after them.
const BARS: usize = 6;

/// The bus now; `None` where this process cannot see it. After a rescan if `rescan` and it may have one.
pub fn bus(rescan: bool) -> Option<Bus> {
    let sysfs = Path::new(SYSFS);
    if rescan {
        scan(sysfs.join(RESCAN));
    }
    let mut devices = devices(sysfs)?;
    if devices.is_empty() {
        // A sandbox's: every guest has some.
        return None;
    }
    let iomem = fs::read_to_string("/proc/iomem").unwrap_or_default();
    let own = Snapshot::take().devices().count();
    let mut known = BOUND.lock().unwrap_or_else(PoisonError::into_inner);
    known.compare(&mut devices, own > 0);
    drop(known);
    let bus = Bus {
        own: own.try_into().unwrap_or(u32::MAX),
        may_rescan: File::options().write(true).open(sysfs.join(RESCAN)).is_ok(),
        window: largest_window(&iomem),
        cut: 0,
        devices,
    };
    Some(bus.fitting())
}

/// Which drivers devices had. It travels with the process: a device that has just come is on the bus a while before its driver has it.
static BOUND: Mutex<Bound> = Mutex::new(Bound(BTreeMap::new()));

/// By vendor and device id: the driver, and how many it had at once.
struct Bound(BTreeMap<(u16, u16), (String, usize)>);

impl Bound {
    /// Marks devices that have no driver and had one, and learns. What is seen while this process uses its GPU is how things are; else
    /// a driver may be on its way.
    fn compare(&mut self, devices: &mut [BusDevice], in_use: bool) {
        let mut now = BTreeMap::<(u16, u16), (String, usize)>::new();
        for device in devices.iter() {
            if let Some(driver) = &device.driver {
                let (_, count) = now.entry(device.id()).or_insert((driver.clone(), 0));
                *count += 1;
            }
        }
        if in_use {
            self.0.clear();
        }
        for (id, (driver, count)) in &now {
            let known = self.0.entry(*id).or_insert((driver.clone(), 0));
            known.1 = known.1.max(*count);
        }
        for (id, (driver, count)) in &self.0 {
            let missing = count - now.get(id).map_or(0, |(_, count)| *count);
            let without = devices
                .iter_mut()
                .filter(|d| d.id() == *id && d.driver.is_none());
            without
                .take(missing)
                .for_each(|d| d.was = Some(driver.clone()));
        }
    }
}

/// On a thread of its own, one at a time: the kernel lets nobody scan while a driver's removal blocks, and who waits there cannot be
/// interrupted.
fn scan(file: PathBuf) {
    static UNDER_WAY: AtomicBool = AtomicBool::new(false);
    if UNDER_WAY.swap(true, Ordering::AcqRel) {
        return;
    }
    let (ended, end) = mpsc::channel();
    let worker = thread::Builder::new().name(SESSION_THREAD.into());
    let started = worker.spawn(move || {
        fork::is_movers_thread();
        if let Err(e) = fs::write(&file, "1") {
            let file = file.display();
            log::warn!("the PCI bus cannot be scanned again ({e}); as root: echo 1 >{file}");
        }
        UNDER_WAY.store(false, Ordering::Release);
        let _ = ended.send(());
    });
    match started {
        Ok(_) => drop(end.recv_timeout(SCAN)),
        Err(e) => {
            UNDER_WAY.store(false, Ordering::Release);
            log::warn!("the PCI bus cannot be scanned again: no thread: {e}");
        }
    }
}

/// Those that are no bridges, GPUs first.
fn devices(sysfs: &Path) -> Option<Vec<BusDevice>> {
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

/// Bytes of the largest window of a root bus, from `/proc/iomem`, which shows zeros to those who may not see addresses.
fn largest_window(iomem: &str) -> Option<u64> {
    let window = |line: &str| {
        let (range, name) = line.split_once(" : ")?;
        // Windows of bridges are indented.
        if !name.starts_with("PCI Bus ") || range.starts_with(' ') {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        Some(u64::from_str_radix(end, 16).ok()?.saturating_sub(start))
    };
    let largest = iomem.lines().filter_map(window).max()?;
    (largest > 0).then(|| largest + 1)
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
    fn a_driver_that_is_still_to_come_is_named() {
        let device = |device, driver: Option<&str>| BusDevice {
            device,
            driver: driver.map(str::to_owned),
            ..BusDevice::default()
        };
        let mut bound = Bound(BTreeMap::new());
        let mut look = |kinds: &[(u16, Option<&str>)], in_use| {
            let devices = kinds.iter().map(|(kind, driver)| device(*kind, *driver));
            let mut devices: Vec<BusDevice> = devices.collect();
            bound.compare(&mut devices, in_use);
            devices.into_iter().map(|d| d.was).collect::<Vec<_>>()
        };
        let (nvidia, some) = (Some("nvidia"), Some("nvidia".to_owned()));
        assert_eq!(
            look(&[(1, None), (2, None)], false),
            [None, None],
            "nobody knows"
        );
        assert_eq!(look(&[(1, nvidia), (1, nvidia), (1, None)], false)[2], None);
        // All have left; they come, and their driver takes one after the other.
        assert_eq!(look(&[], false), []);
        assert_eq!(look(&[(1, None), (2, None)], false), [some.clone(), None]);
        assert_eq!(
            look(&[(1, nvidia), (1, None), (1, None)], false),
            [None, some.clone(), None]
        );
        // While the GPU is used, one without a driver is meant to have none.
        assert_eq!(look(&[(1, nvidia), (1, None)], true), [None, None]);
        assert_eq!(look(&[(1, nvidia), (1, None)], false), [None, None]);
    }

    /// Whoever opens it to write waits for a reader, as one who scans waits for a driver's removal.
    #[test]
    fn a_scan_that_blocks_holds_up_nothing() {
        let folder = std::env::temp_dir().join(format!("xl-gpu-scan-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (blocks, plain) = (folder.join("blocks"), folder.join("plain"));
        let made = std::process::Command::new("mkfifo").arg(&blocks).status();
        assert!(made.unwrap().success());
        scan(blocks.clone());
        scan(plain.clone());
        assert!(!plain.exists(), "one at a time");
        assert_eq!(fs::read_to_string(&blocks).unwrap(), "1");
        while !plain.exists() {
            scan(plain.clone());
        }
        fs::remove_dir_all(&folder).unwrap();
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

    #[test]
    fn the_largest_window_of_a_root_bus() {
        let iomem = "000a0000-000bffff : PCI Bus 0000:00\nf0000000-fbffffff : PCI Bus 0000:00\n  \
                     f3000000-f3ffffff : PCI Bus 0000:01\n100000000-2ffffffff : PCI Bus 0000:00\n";
        assert_eq!(largest_window(iomem), Some(8 << 30));
        let hidden = "00000000-00000000 : PCI Bus 0000:00\n";
        assert_eq!(largest_window(hidden), None);
        assert_eq!(largest_window(""), None);
    }
}
