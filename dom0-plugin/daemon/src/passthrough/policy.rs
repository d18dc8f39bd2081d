//! What `/etc/xen/xl-gpu.conf` says about PCI devices.

use super::command;
use super::device::Device;
use super::error::{DeviceError, DeviceProblem};
use super::toolstack::Toolstack;
use crate::config::Config;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// What is done with the PCI devices of domains that move.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Whether devices are detached and attached at all.
    pub detach: bool,
    /// How long a guest may take to give a device up, or to take it; and each hook.
    pub timeout: Duration,
    /// By domain name: what a domain gets that came without a device.
    attach: BTreeMap<String, Vec<Device>>,
    /// Run before devices are detached.
    pub before_detach: Hook,
    /// Run after they have been attached.
    pub after_attach: Hook,
}

/// A command of the administrator's; none where it is empty.
#[derive(Debug, Clone)]
pub struct Hook {
    setting: &'static str,
    command: Vec<String>,
    timeout: Duration,
}

impl From<&Config> for Policy {
    fn from(config: &Config) -> Self {
        let devices = |specs: &Vec<String>| specs.iter().map(|bdf| Device::at(bdf)).collect();
        let attach = config.pci_attach.iter();
        let hook = |setting, command: &[String]| Hook {
            setting,
            command: command.to_vec(),
            timeout: config.pci_timeout,
        };
        Policy {
            detach: config.pci_detach,
            timeout: config.pci_timeout,
            attach: attach
                .map(|(name, specs)| (name.clone(), devices(specs)))
                .collect(),
            before_detach: hook("pci_before_detach", &config.pci_before_detach),
            after_attach: hook("pci_after_attach", &config.pci_after_attach),
        }
    }
}

impl Policy {
    /// What a domain without any device is to get.
    pub fn to_attach(&self, toolstack: &dyn Toolstack, domid: u32) -> io::Result<Vec<Device>> {
        if self.attach.is_empty() {
            return Ok(Vec::new());
        }
        let name = toolstack.name(domid)?;
        Ok(self.attach.get(&name).cloned().unwrap_or_default())
    }

    /// The administrator's commands, by the setting that names them.
    pub fn hooks(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let hooks = [&self.before_detach, &self.after_attach];
        hooks.into_iter().filter_map(|hook| {
            let program = hook.command.first()?;
            Some((hook.setting, program.as_str()))
        })
    }
}

impl Hook {
    /// Whether there is one.
    pub fn is_set(&self) -> bool {
        !self.command.is_empty()
    }

    /// Runs it, if there is one.
    pub fn run(
        &self,
        toolstack: &dyn Toolstack,
        domid: u32,
        devices: &[Device],
    ) -> Result<(), DeviceError> {
        let setting = self.setting;
        let Some((program, arguments)) = self.command.split_first() else {
            return Ok(());
        };
        let failed = |error| DeviceProblem::Hook { setting, error }.of(domid);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let addresses: Vec<&str> = devices.iter().map(|d| d.bdf.as_str()).collect();
        let variables = [
            ("XL_GPU_DOMID", &*domid.to_string()),
            ("XL_GPU_DOMAIN", &*toolstack.name(domid).map_err(failed)?),
            ("XL_GPU_DEVICES", &*addresses.join(" ")),
        ];
        command::run(program, &arguments, &variables, self.timeout)
            .map(|said| log::debug!("domain {domid}: {setting}: {said}"))
            .map_err(failed)
    }
}
