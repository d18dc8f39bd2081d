//! An HVM guest's part: QEMU's list of devices, and the ACPI interrupt.

use crate::passthrough::toolstack::Emulated;
use std::io;
use xen_bindings::{ACPI_IRQ, DeviceModel};

/// QEMU's monitor command for [`emulated`].
pub const LIST: &str = "info pci";

/// A BAR that is not switched on (`PCI_BAR_UNMAPPED` of QEMU's `pci.h`). QEMU 9.2 and later print no address.
const UNMAPPED: &str = "0xffffffffffffffff";

/// What libxl has had QEMU pass through, by what [`LIST`] printed (`hmp_info_pci_device`): a line `Bus …` for each device, its BARs, and
/// its id at the end.
///
/// # Errors
/// What is no such list: the host bridge is always there. A text that says nothing of a device must not be taken for its absence.
pub fn emulated(list: &str) -> io::Result<Vec<Emulated>> {
    let mut found = Vec::new();
    let (mut bars, mut mapped) = (0, 0);
    let (mut devices, mut ids) = (0, 0);
    for line in list.lines().map(str::trim_start) {
        if line.starts_with("Bus ") {
            (bars, mapped) = (0, 0);
            devices += 1;
        } else if line.starts_with("BAR") {
            bars += 1;
            mapped += u32::from(line.contains(" at 0x") && !line.contains(UNMAPPED));
        } else if let Some(id) = line.strip_prefix("id \"") {
            ids += 1;
            let Some(id) = id.strip_prefix("pci-pt-") else {
                continue;
            };
            found.push(Emulated {
                id: format!("pci-pt-{}", id.trim_end().trim_end_matches('"')),
                is_mapped: bars == 0 || mapped > 0,
            });
        }
    }
    match devices > 0 && devices == ids {
        true => Ok(found),
        false => Err(io::Error::other(format!(
            "`{LIST}` of its device model cannot be read: {devices} devices and {ids} ids"
        ))),
    }
}

/// Has the guest's ACPI handler look for what has happened.
pub fn wake(domid: u32) -> io::Result<()> {
    let domid = u16::try_from(domid).map_err(io::Error::other)?;
    let pulsed = DeviceModel::open().and_then(|model| model.pulse_isa_irq(domid, ACPI_IRQ));
    pulsed.map_err(io::Error::other)?;
    log::info!("domain {domid}: pulse on its ACPI interrupt");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_through_is_told_from_the_rest() {
        let list = "  Bus  0, device   2, function 0:\n    Class 65408: PCI device 5853:0001\n      \
                    PCI subsystem 5853:0001\n      IRQ 0, pin A\n      BAR0: I/O at 0xc000 [0xc0ff].\n      \
                    BAR1: 32 bit prefetchable memory at 0xf2000000 [0xf2ffffff].\n      id \"\"\n  \
                    Bus  0, device   4, function 0:\n    Class 0255: PCI device 1234:11e8\n      \
                    PCI subsystem 1af4:1100\n      IRQ 0, pin A\n      \
                    BAR0: 32 bit memory at 0xffffffffffffffff [0x000ffffe].\n      id \"pci-pt-00_0a.0\"\n  \
                    Bus  0, device   5, function 0:\n    VGA controller: PCI device 10de:2335\n      \
                    BAR0: 64 bit prefetchable memory at 0x100000000 [0x1ffffffff].\n      id \"pci-pt-3b_00.0\"\n";
        let later = list.replace("at 0xffffffffffffffff [0x000ffffe].", "(not mapped)");
        assert_eq!(emulated(&later).unwrap(), emulated(list).unwrap());
        let found: Vec<_> = emulated(list)
            .unwrap()
            .into_iter()
            .map(|e| (e.id, e.is_mapped))
            .collect();
        assert_eq!(
            found,
            [
                ("pci-pt-00_0a.0".to_owned(), false),
                ("pci-pt-3b_00.0".to_owned(), true)
            ]
        );
        for no_list in [
            "",
            "unknown command: 'info pci'\n",
            "  Bus  0, device   2, function 0:\n",
        ] {
            emulated(no_list).unwrap_err();
        }
    }
}
