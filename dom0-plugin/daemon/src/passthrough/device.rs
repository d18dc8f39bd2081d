//! One assigned PCI device, as libxl's nodes tell of it and as `xl pci-attach` takes it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A device assigned to a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// `0000:3b:00.0`, on this host.
    pub bdf: String,
    /// What `xl pci-assignable-add -n` called it, where the domain's configuration names it so (`pci=["name=…"]`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Slot in the guest, `vslot` of xl-pci-configuration(5), where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vslot: Option<u32>,
    /// The other options, as `opts-N` has them: `msitranslate=0,permissive=1,…`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub options: String,
}

impl Device {
    /// A device of that address, with libxl's default options.
    pub fn at(bdf: &str) -> Self {
        Device {
            bdf: bdf.to_owned(),
            name: None,
            vslot: None,
            options: String::new(),
        }
    }

    /// What libxl calls it in the device model: `PCI_PT_QDEV_ID` of `libxl_pci.c`, without the PCI domain.
    pub fn emulated_id(&self) -> String {
        let at = self.bdf.split_once(':').map_or(&*self.bdf, |(_, at)| at);
        format!("pci-pt-{}", at.replace(':', "_"))
    }

    /// PCI_SPEC_STRING of xl-pci-configuration(5), for the same assignment again.
    pub fn spec(&self) -> String {
        let mut spec = match &self.name {
            Some(name) => format!("name={name}"),
            None => self.bdf.clone(),
        };
        if let Some(vslot) = self.vslot {
            spec += &format!(",vslot={vslot:x}");
        }
        if !self.options.is_empty() {
            spec = format!("{spec},{}", self.options);
        }
        spec
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} ({name})", self.bdf),
            None => f.write_str(&self.bdf),
        }
    }
}

/// Whether `text` is a full address, `DDDD:BB:dd.f` in hexadecimal.
pub fn is_bdf(text: &str) -> bool {
    let number = |text: &str, digits: usize, most: u32| {
        text.len() == digits
            && text.bytes().all(|b| b.is_ascii_hexdigit())
            && u32::from_str_radix(text, 16).is_ok_and(|n| n <= most)
    };
    let parts: Vec<&str> = text.split([':', '.']).collect();
    match parts[..] {
        [domain, bus, device, function] => {
            number(domain, 4, 0xffff)
                && number(bus, 2, 0xff)
                && number(device, 2, 0x1f)
                && number(function, 1, 7)
                && text.as_bytes()[10] == b'.'
                && text.as_bytes()[4] == b':'
                && text.as_bytes()[7] == b':'
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_assignment_again() {
        let mut device = Device::at("0000:3b:00.0");
        assert_eq!(device.spec(), "0000:3b:00.0");
        assert_eq!(device.emulated_id(), "pci-pt-3b_00.0");
        device.options = "msitranslate=0,power_mgmt=0,permissive=1,rdm_policy=strict".into();
        device.vslot = Some(0x1a);
        assert_eq!(
            device.spec(),
            "0000:3b:00.0,vslot=1a,msitranslate=0,power_mgmt=0,permissive=1,rdm_policy=strict"
        );
        device.name = Some("gpu0".into());
        assert!(device.spec().starts_with("name=gpu0,vslot=1a,"));
        assert_eq!(device.to_string(), "0000:3b:00.0 (gpu0)");
    }

    #[test]
    fn addresses() {
        for good in ["0000:00:0a.0", "0001:ff:1f.7", "ABCD:3b:00.0"] {
            assert!(is_bdf(good), "{good}");
        }
        for bad in [
            "",
            "00:0a.0",
            "0000:00:20.0",
            "0000:00:0a.8",
            "0000.00:0a:0",
            "0000:00:0a.0x",
            "00+0:00:0a.0",
        ] {
            assert!(!is_bdf(bad), "{bad}");
        }
    }
}
