//! The host: who works on the domain, and what the toolstack would run.

use super::patient::{Asked, Patient};
use host::helper::HelperState;
use protocol::diagnosis::{Code, Finding};
use std::path::Path;
use xen_bindings::guest::Version;

/// What hinders at the moment only. The plugin's own conversation has the domain for itself by now.
pub fn busy(patient: &Patient) -> Vec<Finding> {
    if patient.asked == Asked::Preflight || patient.asked == Asked::Rehearsal {
        return Vec::new();
    }
    let finding = patient.busy.map(|what| {
        Finding::error(
            Code::DomainBusy,
            &format!("domain {}", patient.domid),
            format!("it is busy: {what}"),
        )
        .remedy("try again when it is over; its sessions were not asked now")
    });
    finding.into_iter().collect()
}

/// Whether `xl migrate` would get to the plugin, as far as can be known: it is xl's environment that counts.
pub fn save_helper(patient: &Patient) -> Vec<Finding> {
    let Asked::Doctor { save_helper } = &patient.asked else {
        return Vec::new();
    };
    let Some(toolstack) = patient.devices.toolstack() else {
        return Vec::new();
    };
    let subject = "LIBXL_SAVE_HELPER";
    let finding = match save_helper {
        None if toolstack.save_helper() == Some(HelperState::Diverted) => return Vec::new(),
        None => Finding::warning(
            Code::HelperUnset,
            subject,
            "it is not set here, and Xen's own helper is in its place: from this shell xl would run it, and move no GPU state",
        )
        .remedy("/usr/lib/xl-gpu/save-helper-diversion add puts the plugin into every save"),
        Some(path) if !Path::new(path).exists() => {
            Finding::error(Code::HelperMissing, subject, format!("it names {path}, which is not there"))
                .remedy("scripts/install puts it there")
        }
        Some(path) => match Path::new(path).with_file_name("libxl_gpu_plugin.so").exists() {
            true => return Vec::new(),
            false => Finding::warning(Code::PluginMissing, subject, format!("there is no plugin beside {path}"))
                .remedy("scripts/install puts libxl_gpu_plugin.so there; XL_GPU_PLUGIN names another place"),
        },
    };
    vec![finding]
}

/// The plugin knows libxenguest's prototypes by its version. One that has called knows its own.
pub fn libxenguest(patient: &Patient) -> Vec<Finding> {
    let Some(toolstack) = patient.devices.toolstack() else {
        return Vec::new();
    };
    if patient.by_plugin() || !patient.would_leave() {
        return Vec::new();
    }
    let finding = match toolstack.libxenguest() {
        Err(e) => Finding::warning(
            Code::HelperUnreadable,
            "libxl-save-helper",
            format!("it cannot be looked at: {e}"),
        ),
        Ok(path) => match Version::from_library_path(&path) {
            Some(version) if version.is_known() => return Vec::new(),
            _ => Finding::error(
                Code::LibxenguestUnknown,
                &path,
                format!(
                    "it is not one of {} to {}: the plugin leaves GPU state alone beside it",
                    Version::FIRST,
                    Version::LAST
                ),
            )
            .remedy("use an xl-gpu that knows this Xen"),
        },
    };
    vec![finding]
}
