//! What is on the guest's PCI bus, by its kernel's word in `/sys`: dom0 asks before it serves a session, and before it detaches
//! a device.

use crate::fork;
use crate::vendor::foreign::SESSION_THREAD;
use crate::vendor::snapshot::Snapshot;
use channel::bus::{Bus, BusDevice};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;
use xen_session::pci_devices::{SYSFS, devices};

/// Has the kernel look for devices that it does not know.
const RESCAN: &str = "bus/pci/rescan";

/// How long a scan is waited for.
const SCAN: Duration = Duration::from_secs(1);

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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_largest_window_of_a_root_bus() {
        let iomem = "000a0000-000bffff : PCI Bus 0000:00\nf0000000-fbffffff : PCI Bus 0000:00\n  \
                     f3000000-f3ffffff : PCI Bus 0000:01\n100000000-2ffffffff : PCI Bus 0000:00\n";
        assert_eq!(largest_window(iomem), Some(8 << 30));
        let hidden = "00000000-00000000 : PCI Bus 0000:00\n";
        assert_eq!(largest_window(hidden), None);
        assert_eq!(largest_window(""), None);
    }
}
