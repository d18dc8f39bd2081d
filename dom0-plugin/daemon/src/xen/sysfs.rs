//! A PCI device as dom0's kernel shows it.

use crate::passthrough::toolstack::InDom0;
use std::fs;
use std::io::Read;
use std::path::Path;

/// BARs of a device; what comes after them in its file `resource` are the expansion ROM and a bridge's windows.
const BARS: usize = 6;
/// `IORESOURCE_MEM` of `include/linux/ioport.h`.
const MEMORY: u64 = 0x200;

/// Of the device whose folder it is.
pub fn in_dom0(folder: &Path) -> InDom0 {
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let id = |name: &str| hexadecimal(text(name).trim())?.try_into().ok();
    let driver = fs::read_link(folder.join("driver")).ok();
    InDom0 {
        exists: folder.exists(),
        resets: folder.join("reset").exists(),
        driver: driver.and_then(|d| Some(d.file_name()?.to_string_lossy().into_owned())),
        id: id("vendor").zip(id("device")),
        class: hexadecimal(text("class").trim()).map(|class| (class >> 16) as u8),
        largest_bar: largest_bar(&text("resource")),
        is_dead: is_dead(folder),
    }
}

/// The ids in `vendor` and `device` are remembered; `config` is read from the device. A virtual function has ids of ones, and is not
/// dead: the whole header has to be.
fn is_dead(folder: &Path) -> bool {
    let mut header = [0; 64];
    let read = fs::File::open(folder.join("config")).and_then(|mut f| f.read_exact(&mut header));
    read.is_ok() && header == [0xff; 64]
}

/// In bytes, of those in memory; `start end flags` in each line.
fn largest_bar(resource: &str) -> u64 {
    let size = |line: &str| {
        let mut numbers = line.split(' ').map(hexadecimal);
        let (start, end, flags) = (numbers.next()??, numbers.next()??, numbers.next()??);
        (flags & MEMORY != 0 && end > start).then(|| end - start + 1)
    };
    let sizes = resource.lines().take(BARS).filter_map(size);
    sizes.max().unwrap_or(0)
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_bars_and_dead_devices() {
        let folder = std::env::temp_dir().join(format!("xl-gpu-sysfs-{}", std::process::id()));
        assert!(!in_dom0(&folder).exists);
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
        write("vendor", b"0x10de\n");
        write("device", b"0x2335\n");
        write("config", &[0x10; 64]);
        write("class", b"0x030200\n");
        write(
            "resource",
            b"0x200000000 0x2ffffffff 0x14220c\n0x0 0x0 0x0\n0xc000 0x10000bfff 0x40101\n",
        );
        let seen = in_dom0(&folder);
        assert_eq!(seen.id, Some((0x10de, 0x2335)));
        assert_eq!((seen.class, seen.largest_bar), (Some(3), 4 << 30));
        assert!(seen.exists && !seen.is_dead && !seen.resets);
        let mut virtual_function = [0xff; 64];
        virtual_function[4..].fill(0);
        write("config", &virtual_function);
        assert!(!in_dom0(&folder).is_dead);
        write("config", &[0xff; 64]);
        assert!(in_dom0(&folder).is_dead);
        fs::remove_dir_all(&folder).unwrap();
    }
}
