//! Who in the guest keeps a device's driver from letting it go.
//!
//! A driver may wait in its removal until nobody uses its device; NVIDIA's does, without end. The guest then holds the device, and
//! gives it up at any later moment. So who uses it has to be known before: the kernel counts references to the modules, and each
//! session knows its own.

use channel::bus::{Bus, BusDevice, Module};

/// Parts of NVIDIA's driver that no GPU session uses.
const DISPLAY: [&str; 2] = ["_drm", "_modeset"];

/// Modules of the drivers of devices `ids`, with references that the sessions' own files do not explain. `buses`: as all sessions of
/// the guest see it.
pub fn unexplained(buses: &[Bus], ids: &[(u16, u16)]) -> Vec<Module> {
    let own: u64 = buses.iter().map(|bus| u64::from(bus.own)).sum();
    let Some(bus) = buses.first() else {
        return Vec::new();
    };
    let is_one = |device: &&BusDevice| ids.contains(&device.id());
    let mut modules: Vec<&Module> = Vec::new();
    for module in bus.devices.iter().filter(is_one).flat_map(|d| &d.modules) {
        if !modules.iter().any(|m| m.name == module.name) {
            modules.push(module);
        }
    }
    modules.retain(|m| m.references > 0);
    let is_display = |m: &&Module| DISPLAY.iter().any(|end| m.name.ends_with(end));
    let (mut found, computing): (Vec<_>, Vec<_>) = modules.into_iter().partition(is_display);
    let counted: u64 = computing.iter().map(|m| u64::from(m.references)).sum();
    if counted > own {
        found.extend(computing);
    }
    found.into_iter().cloned().collect()
}

/// What to do about them.
pub fn remedy(modules: &[Module]) -> String {
    let uses = |end: &str| modules.iter().any(|m| m.name.ends_with(end));
    let is_nvidia = modules.iter().any(|m| m.name.starts_with("nvidia"));
    let mut remedies = Vec::new();
    if is_nvidia
        && modules
            .iter()
            .any(|m| m.name == "nvidia" || m.name == "nvidia_uvm")
    {
        remedies
            .push("systemctl stop nvidia-persistenced, and end what `fuser -v /dev/nvidia*` names");
    }
    if uses("_drm") || uses("_modeset") {
        remedies.push("end the display server and the console on the GPU (modprobe -r nvidia-drm nvidia-modeset must work)");
    }
    if remedies.is_empty() {
        remedies.push("end what has its device files open (fuser, lsof)");
    }
    format!("in the guest, as root: {}", remedies.join("; "))
}

/// For people.
pub fn names(modules: &[Module]) -> String {
    let names: Vec<String> = modules
        .iter()
        .map(|m| format!("{} ({} references)", m.name, m.references))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: (u16, u16) = (0x10de, 0x2335);

    fn bus(own: u32, modules: &[(&str, u32)]) -> Bus {
        let module = |(name, references): &(&str, u32)| Module {
            name: (*name).into(),
            references: *references,
        };
        Bus {
            own,
            devices: vec![BusDevice {
                vendor: ID.0,
                device: ID.1,
                address: "0000:00:05.0".into(),
                driver: Some("nvidia".into()),
                modules: modules.iter().map(module).collect(),
                ..BusDevice::default()
            }],
            ..Bus::default()
        }
    }

    #[test]
    fn references_that_are_nobody_s() {
        let found = |buses: &[Bus]| names(&unexplained(buses, &[ID]));
        let idle = [("nvidia", 0), ("nvidia_uvm", 0), ("nvidia_drm", 0)];
        assert_eq!(found(&[bus(0, &idle)]), "");
        let busy = [("nvidia", 5), ("nvidia_uvm", 1)];
        assert_eq!(found(&[bus(4, &busy), bus(2, &busy)]), "", "two sessions'");
        assert_eq!(
            found(&[bus(4, &busy)]),
            "nvidia (5 references), nvidia_uvm (1 references)"
        );
        let shown = [("nvidia", 5), ("nvidia_drm", 1)];
        assert_eq!(found(&[bus(9, &shown)]), "nvidia_drm (1 references)");
        assert_eq!(
            unexplained(&[bus(0, &busy)], &[(1, 2)]),
            [],
            "another device's"
        );
        assert_eq!(unexplained(&[], &[ID]), []);
    }

    #[test]
    fn remedies_fit_what_is_found() {
        let of = |modules| remedy(&bus(0, modules).devices[0].modules);
        assert!(of(&[("nvidia", 1)]).contains("nvidia-persistenced"));
        assert!(of(&[("nvidia_drm", 1)]).contains("display server"));
        assert!(of(&[("stub", 1)]).contains("fuser"));
    }
}
