//! What a session sees on its guest's PCI bus: the surest word on whether the guest has a device, and whether it could give it up.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Most devices that are told of.
pub const MAX_DEVICES: usize = 24;
/// Longest text, in bytes: xenstored takes 2048 of a guest in one node, with all that belongs to it.
const MAX_TEXT: usize = 1200;
/// Goes before the name of a driver that is not there. No module's word: an earlier version skips it.
const WAS: &str = "was:";
/// Most modules of a device's driver that are told of.
pub const MAX_MODULES: usize = 8;

/// The bus, bridges left out, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bus {
    /// Device files of GPUs that the process itself has open or mapped.
    pub own: u32,
    /// The process may have the kernel look for devices that it does not know.
    pub may_rescan: bool,
    /// Bytes of the largest window that a root bus has for devices' memory; `None` where the process may not see addresses.
    pub window: Option<u64>,
    /// Devices that were left out, because not all would fit.
    #[serde(default)]
    pub cut: u32,
    pub devices: Vec<BusDevice>,
}

/// A device on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusDevice {
    /// PCI's vendor id.
    pub vendor: u16,
    /// The vendor's device id.
    pub device: u16,
    /// `0000:00:05.0`, in the guest.
    pub address: String,
    /// Bytes of its largest memory BAR that the kernel has found no room for (yet); 0 if each has its place.
    pub unplaced: u64,
    /// Its driver; none if it has none.
    pub driver: Option<String>,
    /// The driver that one of its kind had when this process used it, where it has none now.
    #[serde(default)]
    pub was: Option<String>,
    /// The driver's module and those that use it, if they are modules at all.
    pub modules: Vec<Module>,
}

/// A kernel module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    pub name: String,
    /// References that are not another module's: files that are open, and what else the kernel counts.
    pub references: u32,
}

impl Bus {
    /// Without the last devices, if all would not fit one node.
    pub fn fitting(mut self) -> Bus {
        let left_out = self.devices.len().saturating_sub(MAX_DEVICES);
        self.devices.truncate(MAX_DEVICES);
        self.cut += left_out as u32;
        while self.to_string().len() > MAX_TEXT && self.devices.pop().is_some() {
            self.cut += 1;
        }
        self
    }
}

impl BusDevice {
    /// Vendor and device id.
    pub fn id(&self) -> (u16, u16) {
        (self.vendor, self.device)
    }
}

/// A text that no [`Bus`] can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `OWN RESCAN WINDOW` and a line for each device")]
pub struct NoBus;

/// One line for the process, one for each device: `OWN 0|1 WINDOW|- [CUT]`, then
/// `VVVV:DDDD ADDRESS UNPLACED DRIVER|- [was:DRIVER] MODULE=REFERENCES …`.
impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.own, u8::from(self.may_rescan))?;
        match self.window {
            Some(bytes) => write!(f, "{bytes}")?,
            None => f.write_str("-")?,
        }
        if self.cut > 0 {
            write!(f, " {}", self.cut)?;
        }
        for d in &self.devices {
            let driver = d.driver.as_deref().unwrap_or("-");
            let (id, at) = (
                format_args!("{:04x}:{:04x}", d.vendor, d.device),
                &d.address,
            );
            write!(f, "\n{id} {at} {} {driver}", d.unplaced)?;
            if let Some(was) = &d.was {
                write!(f, " {WAS}{was}")?;
            }
            for m in &d.modules {
                write!(f, " {}={}", m.name, m.references)?;
            }
        }
        Ok(())
    }
}

/// The reverse; further words are ignored, and what is too much is left out.
impl FromStr for Bus {
    type Err = NoBus;

    fn from_str(text: &str) -> Result<Self, NoBus> {
        let mut lines = text.lines();
        let mut words = lines.next().ok_or(NoBus)?.split(' ');
        let mut next = || words.next().ok_or(NoBus);
        let own = next()?.parse().map_err(|_| NoBus)?;
        let may_rescan = next()? == "1";
        let window = match next()? {
            "-" => None,
            bytes => Some(bytes.parse().map_err(|_| NoBus)?),
        };
        // Not there in an earlier version's, nor where all fit.
        let cut = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let devices = lines.take(MAX_DEVICES).map(|l| device(l).ok_or(NoBus));
        Ok(Bus {
            own,
            may_rescan,
            window,
            cut,
            devices: devices.collect::<Result<_, _>>()?,
        })
    }
}

fn device(line: &str) -> Option<BusDevice> {
    let mut words = line.split(' ');
    let (vendor, device) = words.next()?.split_once(':')?;
    let number = |text| u16::from_str_radix(text, 16).ok();
    let (vendor, device) = (number(vendor)?, number(device)?);
    let address = words.next()?.to_owned();
    let unplaced = words.next()?.parse().ok()?;
    let driver = Some(words.next()?).filter(|name| *name != "-");
    let mut words = words.peekable();
    let was = words.next_if(|word| word.starts_with(WAS));
    let was = was.map(|word| word[WAS.len()..].to_owned());
    let module = |word: &str| {
        let (name, references) = word.split_once('=')?;
        Some(Module {
            name: name.to_owned(),
            references: references.parse().ok()?,
        })
    };
    Some(BusDevice {
        vendor,
        device,
        address,
        unplaced,
        driver: driver.map(str::to_owned),
        was,
        modules: words.take(MAX_MODULES).filter_map(module).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_is_read_as_it_is_written() {
        let module = |name: &str, references| Module {
            name: name.into(),
            references,
        };
        let gpu = BusDevice {
            vendor: 0x10de,
            device: 0x2335,
            address: "0000:00:05.0".into(),
            unplaced: 0,
            driver: Some("nvidia".into()),
            was: None,
            modules: vec![module("nvidia", 3), module("nvidia_uvm", 1)],
        };
        let plain = BusDevice {
            driver: None,
            was: Some("nvidia".into()),
            modules: Vec::new(),
            unplaced: 4 << 30,
            ..gpu.clone()
        };
        for bus in [
            Bus::default(),
            Bus {
                own: 7,
                may_rescan: true,
                window: Some(8 << 30),
                cut: 3,
                devices: vec![gpu, plain],
            },
        ] {
            assert_eq!(bus.to_string().parse(), Ok(bus));
        }
        let text = "0 0 -\n10de:2335 0000:00:05.0 0 nvidia nvidia=3 later";
        let bus: Bus = text.parse().unwrap();
        assert_eq!(bus.devices[0].modules, [module("nvidia", 3)]);
        let crowd = vec![bus.devices[0].clone(); 99];
        let all = Bus {
            devices: crowd,
            ..bus
        };
        let fitting = all.fitting();
        assert!(fitting.to_string().len() <= MAX_TEXT && fitting.devices.len() > 20);
        assert_eq!(fitting.devices.len() + fitting.cut as usize, 99);
        assert_eq!(fitting.to_string().parse(), Ok(fitting));
        for bad in [
            "",
            "x 0 -",
            "0 0",
            "0 0 x",
            "0 0 -\n10de 1 0 -",
            "0 0 -\n10de:1 a 0",
        ] {
            assert_eq!(bad.parse::<Bus>(), Err(NoBus), "{bad:?}");
        }
    }
}
