//! PCI devices that have to leave with the domain, or that it is to get.

use super::patient::Patient;
use crate::passthrough::absence::Absence;
use crate::passthrough::device::Device;
use crate::passthrough::holders;
use crate::passthrough::toolstack::{Configuration, InDom0, Toolstack};
use crate::passthrough::verdict::{Verdict, verdict};
use protocol::diagnosis::{Code, Finding};
use protocol::text;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The line that a configuration without `pci=` needs.
const LINE: &str = "passthrough=\"enabled\"";

pub fn devices(patient: &Patient) -> Vec<Finding> {
    let Some(toolstack) = patient.devices.toolstack() else {
        return Vec::new();
    };
    if !patient.would_leave() {
        return Vec::new();
    }
    match examine(patient, toolstack) {
        Ok(findings) => findings,
        Err(e) => vec![
            Finding::error(
                Code::DevicesUnreadable,
                "PCI devices",
                format!("those of domain {} cannot be read: {e}", patient.domid),
            )
            .remedy("xl pci-list shows whether the toolstack can"),
        ],
    }
}

fn examine(patient: &Patient, toolstack: &dyn Toolstack) -> std::io::Result<Vec<Finding>> {
    let (domid, policy) = (patient.domid, patient.devices.policy());
    let assigned = toolstack.assigned(domid)?;
    let record = toolstack.record(domid)?.into_iter();
    let away: Vec<Device> = record.map(|taken| taken.device).collect();
    let by_policy = policy.to_attach(toolstack, domid)?;
    let mut findings: Vec<Finding> = away
        .iter()
        .filter(|d| !assigned.iter().any(|a| a.bdf == d.bdf))
        .map(|d| {
            // What is on record stays here, and the programs would wait for it there.
            Finding::error(
                Code::DeviceAway,
                &format!("PCI device {d}"),
                "it was detached for a migration and is not back yet",
            )
            .remedy(format!(
                "xl-gpud attaches it; or: xl pci-attach {domid} {}; to move without it: xenstore-rm {}/pci",
                d.bdf,
                channel::xenstore::control(domid)
            ))
        })
        .collect();
    findings.extend(ghosts(patient, &assigned));
    if !assigned.is_empty() {
        findings.extend(would_go(patient, &assigned));
        findings.extend(
            assigned
                .iter()
                .flat_map(|d| in_dom0(d, &toolstack.in_dom0(d))),
        );
        findings.extend(same_chip(patient, &assigned));
        findings.extend(has_them(patient, &assigned));
        if patient.devices.is_leaving(domid) {
            findings.push(
                Finding::warning(
Code::DeviceLeaving,
"PCI devices",
                    "one was to leave and has not: it may yet, whenever what uses its driver in the guest ends",
                )
                .remedy("end that in the guest; xl-gpud brings the device back when it has left"),
            );
        }
    }
    let would_come = away.iter().chain(&by_policy);
    let would_come = would_come.filter(|d| !assigned.iter().any(|a| a.bdf == d.bdf));
    findings.extend(would_come.flat_map(|d| can_come(patient, toolstack, d)));
    if !assigned.is_empty() || !away.is_empty() || !by_policy.is_empty() {
        findings.extend(programs(patient));
        findings.extend(match toolstack.configuration(domid) {
            Ok(configuration) => has_line(patient, configuration, &by_policy),
            Err(e) => Some(cannot_be_asked(&e)),
        });
    }
    Ok(findings)
}

/// What nobody would take from the guest.
fn ghosts(patient: &Patient, assigned: &[Device]) -> Vec<Finding> {
    let ghosts = patient.devices.ghosts(patient.domid, assigned).into_iter();
    let finding = |id: String| {
        Finding::error(
            Code::DeviceGhost,
            &format!("guest of domain {}", patient.domid),
            format!("its device model has {id}, and libxl does not list it: an attach broke off in the middle"),
        )
        .remedy(format!(
            "wait if xl is at work; else: xl qemu-monitor-command {} 'device_del {id}', or shut the guest down",
            patient.domid
        ))
    };
    ghosts.map(finding).collect()
}

/// Whether the guest uses them, and would give them up.
fn has_them(patient: &Patient, assigned: &[Device]) -> Vec<Finding> {
    let domid = patient.domid;
    if patient.busy.is_some() && !patient.by_plugin() {
        // Its sessions are not disturbed.
        return Vec::new();
    }
    match patient.devices.absence(domid, assigned) {
        Ok(None) => {}
        Ok(Some(Absence::NotTaken)) => {
            let what = "the guest has not taken those assigned to it, and would not give them up";
            let finding = Finding::error(Code::DeviceNotTaken, "PCI devices", what);
            return vec![finding.remedy(Absence::NotTaken.remedy())];
        }
        Ok(Some(absence)) => {
            let finding = Finding::error(Code::DeviceAbsent, "PCI devices", absence.to_string());
            return vec![finding.remedy(absence.remedy())];
        }
        Err(e) => {
            let finding = Finding::error(
                Code::DevicesUnreadable,
                "PCI devices",
                e.problem.to_string(),
            );
            return vec![finding.remedy("xl pci-list shows whether the toolstack can")];
        }
    }
    let (users, silent) = patient.devices.holders(domid, assigned);
    if users.is_empty() {
        let finding = || {
            Finding::note(
Code::DeviceUsersUnknown,
&format!("guest of domain {domid}"),
                format!("whether something else there uses the device's driver is not known: {silent} of its sessions do not tell"),
            )
            .remedy("in the guest: lsmod shows who uses the driver's modules")
        };
        return (silent > 0).then(finding).into_iter().collect();
    }
    let (subject, what) = (
        format!("guest of domain {domid}"),
        format!(
            "something beside its GPU sessions uses the device's driver, which would not let it go: {}",
            holders::names(&users)
        ),
    );
    // The administrator's command may be there to end just that.
    let has_hook = patient.devices.policy().before_detach.is_set();
    let finding = match has_hook {
        true => Finding::warning(Code::DeviceInUse, &subject, what),
        false => Finding::error(Code::DeviceInUse, &subject, what),
    };
    vec![finding.remedy(holders::remedy(&users))]
}

/// Whether a device that the domain has not could be given to it.
fn can_come(patient: &Patient, toolstack: &dyn Toolstack, device: &Device) -> Vec<Finding> {
    let subject = format!("PCI device {device}");
    let mut findings = Vec::new();
    match verdict(toolstack, patient.domid, device, "") {
        Verdict::Sound { .. } => {}
        wrong => findings.push(
            Finding::warning(
                Code::DeviceNotGivable,
                &subject,
                "the domain is to have it, and cannot be given it",
            )
            .remedy(wrong.to_string()),
        ),
    }
    let bar = toolstack.in_dom0(device).largest_bar;
    let buses = patient.announced.iter().filter_map(|a| a.bus.as_ref());
    let window = buses.filter_map(|bus| bus.window).max();
    if let Some(window) = window.filter(|window| *window < bar) {
        let absence = Absence::NoRoom {
            device: device.to_string(),
            bytes: bar,
        };
        let what = format!(
            "its memory takes {}, and the largest window of the guest's PCI bus has {}",
            text::bytes(bar),
            text::bytes(window)
        );
        findings.push(Finding::error(Code::DeviceNoRoom, &subject, what).remedy(absence.remedy()));
    }
    findings
}

/// Whether xl-gpu would have them detached.
fn would_go(patient: &Patient, assigned: &[Device]) -> Option<Finding> {
    let names: Vec<String> = assigned.iter().map(ToString::to_string).collect();
    let finding = |what: &str| {
        Finding::error(
            Code::DeviceStays,
            &format!("PCI devices {}", names.join(", ")),
            format!("{what}, and Xen refuses to track the writes of a domain with a device"),
        )
    };
    let by_hand = format!("xl pci-detach {} {} before", patient.domid, assigned[0].bdf);
    if patient.announced.is_empty() {
        Some(finding("without a GPU session xl-gpu leaves them alone").remedy(by_hand))
    } else if !patient.devices.policy().detach {
        Some(
            finding("pci_detach is false in xl-gpu.conf")
                .remedy(format!("set it to true, or {by_hand}")),
        )
    } else {
        None
    }
}

/// A driver's own state goes on on the same chip only. The receiver refuses another one, before the domain is stopped.
fn same_chip(patient: &Patient, assigned: &[Device]) -> Option<Finding> {
    let mut sessions = patient.announced.iter();
    if sessions.all(|a| a.left.contexts == 0) {
        return None;
    }
    let chips = patient.devices.cuda_chips(assigned);
    let chips: Vec<String> = chips.iter().map(ToString::to_string).collect();
    (!chips.is_empty()).then(|| {
        Finding::note(
            Code::SameChip,
            &format!("domain {}", patient.domid),
            format!(
                "its CUDA programs go on on the same chip only: {}",
                chips.join(", ")
            ),
        )
        .remedy(
            "the other host refuses the migration at once where it has another: lspci -nn there",
        )
    })
}

fn in_dom0(device: &Device, seen: &InDom0) -> Vec<Finding> {
    let subject = format!("PCI device {device}");
    let mut findings = Vec::new();
    if !seen.exists {
        findings.push(
            Finding::error(
                Code::DeviceMissing,
                &subject,
                "dom0 does not see it any more",
            )
            .remedy("look into dom0's kernel log"),
        );
        return findings;
    }
    if seen.is_dead {
        findings.push(
            Finding::error(
                Code::DeviceDead,
                &subject,
                "its configuration space reads as ones",
            )
            .remedy(Verdict::Dead.to_string()),
        );
        return findings;
    }
    if let Some(driver) = seen.driver.as_ref().filter(|d| *d != "pciback") {
        findings.push(
            Finding::error(
                Code::DeviceDriver,
                &subject,
                format!("dom0's driver {driver} has it, not pciback"),
            )
            .remedy(format!("xl pci-assignable-add {}", device.bdf)),
        );
    }
    if !seen.resets {
        findings.push(
            Finding::warning(
                Code::DeviceNoReset,
                &subject,
                "dom0 cannot reset it: what the guest left in it stays, and it may not start again",
            )
            .remedy("a reset by a command of yours can go into pci_before_detach of xl-gpu.conf"),
        );
    }
    if device.name.is_none() {
        findings.push(
            Finding::note(
                Code::DeviceAddress,
                &subject,
                "the other host has to have one at the same address that is assignable",
            )
            .remedy(format!(
                "where it is not at {}: xl migrate -C with a configuration that has none, and pci_attach in xl-gpu.conf there",
                device.bdf
            )),
        );
    }
    findings
}

/// The administrator's commands can be run.
fn programs(patient: &Patient) -> Vec<Finding> {
    let runs = |path: &str| {
        let found = std::fs::metadata(Path::new(path));
        found.is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    let hooks = patient.devices.policy().hooks();
    hooks
        .filter(|(_, program)| !runs(program))
        .map(|(setting, program)| {
            Finding::error(
                Code::HookNotRunnable,
                &format!("{setting} of xl-gpu.conf"),
                format!("{program} cannot be run"),
            )
            .remedy("correct the setting, or make the file executable; then restart xl-gpud")
        })
        .collect()
}

/// A domain that was built without an IOMMU context never gets a device.
fn has_line(
    patient: &Patient,
    configuration: Configuration,
    by_policy: &[Device],
) -> Option<Finding> {
    if configuration.passthrough || configuration.devices > 0 {
        return None;
    }
    let wanted = match by_policy.first() {
        Some(device) => format!("pci_attach of xl-gpu.conf gives it {device}"),
        None => "it is to have its device back".into(),
    };
    Some(
        Finding::error(
            Code::PassthroughOff,
            &format!("configuration of domain {}", patient.domid),
            format!("{wanted}, and a domain built without {LINE} cannot take it"),
        )
        .remedy(format!(
            "add the line {LINE} and create the domain anew, or take the setting out"
        )),
    )
}

fn cannot_be_asked(e: &std::io::Error) -> Finding {
    let finding = Finding::error(Code::XlUnusable, "xl", format!("it cannot be asked: {e}"));
    match e.kind() {
        std::io::ErrorKind::NotFound => {
            finding.remedy("install Xen's tools: devices are detached and attached by xl")
        }
        _ => finding,
    }
}
