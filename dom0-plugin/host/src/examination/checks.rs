//! The checks, in the order of their findings.

use super::looked::{Daemon, Host};
use crate::helper::HelperState;
use protocol::diagnosis::{Code, Finding};
use protocol::text::bytes;
use xen_bindings::guest::Version;

type Check = fn(&Host) -> Vec<Finding>;

pub const ALL: [Check; 9] = [
    daemon,
    hypervisor,
    xl,
    helpers,
    environment,
    iommu,
    pciback,
    quota,
    spool,
];

/// Less is little for the GPU memory of one program.
const LITTLE_ROOM: u64 = 1 << 30;
/// XenStore nodes of a session, in rounded figures (`docs/xenstore.md`).
const NODES_OF_SESSION: u64 = 20;
/// A guest has some hundred nodes without any session.
const NODES_OF_GUEST: u64 = 200;
/// Room for fewer sessions than these is worth a word.
const FEW_SESSIONS: u64 = 16;

const DIVERT: &str = "/usr/lib/xl-gpu/save-helper-diversion add puts the plugin into every save";

fn daemon(host: &Host) -> Vec<Finding> {
    let finding = match &host.daemon {
        Daemon::Silent(why) => Finding::error(
            Code::DaemonDown,
            "xl-gpud",
            format!("it does not answer: {why}"),
        )
        .remedy("systemctl start xl-gpud; journalctl -u xl-gpud -e says why it does not run"),
        Daemon::Runs { version } if *version != host.version => Finding::warning(
            Code::DaemonVersion,
            "xl-gpud",
            format!(
                "it is version {version}, and this command is {}",
                host.version
            ),
        )
        .remedy("systemctl restart xl-gpud, when nothing is under way (xl-gpu status)"),
        Daemon::Runs { .. } => return Vec::new(),
    };
    vec![finding]
}

fn hypervisor(host: &Host) -> Vec<Finding> {
    let (Some(xen), true) = (&host.xen, host.is_dom0) else {
        let what = "no dom0 of Xen: there are no guests to move from here";
        return vec![Finding::error(Code::NoDom0, "this host", what)];
    };
    let version = Version::from_library_path(&format!("libxenguest.so.{xen}"));
    if version.is_some_and(Version::is_known) {
        return Vec::new();
    }
    let finding = Finding::error(
        Code::LibxenguestUnknown,
        &format!("Xen {xen}"),
        format!(
            "it is not one of {} to {}: the plugin leaves GPU state alone beside it",
            Version::FIRST,
            Version::LAST
        ),
    );
    vec![finding.remedy("use an xl-gpu that knows this Xen")]
}

fn xl(host: &Host) -> Vec<Finding> {
    match &host.info {
        Err(e) if host.is_dom0 => {
            let what = format!("it cannot be asked: {e}");
            let finding = Finding::error(Code::XlUnusable, "xl", what);
            vec![finding.remedy("install Xen's tools of the version of the hypervisor that runs")]
        }
        _ => Vec::new(),
    }
}

fn helpers(host: &Host) -> Vec<Finding> {
    let mut findings = Vec::new();
    if host.helpers.is_empty() {
        findings.push(
            Finding::error(
                Code::HelperUnreadable,
                "libxl-save-helper",
                "Xen's is not found",
            )
            .remedy("install Xen's tools (Debian: xen-utils)"),
        );
    }
    for helper in &host.helpers {
        let path = helper.path.to_string_lossy();
        findings.extend(match helper.state {
            HelperState::Diverted => None,
            HelperState::Stock => Some(
                Finding::error(
                    Code::HelperStock,
                    &path,
                    "it is Xen's own, without the plugin: a save of a domain with GPU sessions is ended",
                )
                .remedy(DIVERT),
            ),
            HelperState::Broken => Some(
                Finding::error(
                    Code::HelperBroken,
                    &path,
                    "xl-gpu's wrapper is in its place, and Xen's own is not beside it: no domain can be saved or restored",
                )
                .remedy("install the package again that has it (Debian: xen-utils-VERSION)"),
            ),
        });
    }
    if !host.has_plugin {
        findings.push(
            Finding::error(
                Code::PluginMissing,
                "libxl_gpu_plugin.so",
                "it is not where it belongs",
            )
            .remedy("install xl-gpu-dom0 again"),
        );
    }
    findings
}

fn environment(host: &Host) -> Vec<Finding> {
    let named = host.save_helper.iter().filter(|path| !path.exists());
    let finding = |path: &std::path::PathBuf| {
        Finding::error(
            Code::HelperMissing,
            "LIBXL_SAVE_HELPER",
            format!("it names {}, which is not there", path.display()),
        )
        .remedy("take the variable out of the environment (/etc/environment): it is not needed")
    };
    named.map(finding).collect()
}

fn iommu(host: &Host) -> Vec<Finding> {
    let Ok(info) = &host.info else {
        return Vec::new();
    };
    let capabilities = info.lines().find(|line| line.starts_with("virt_caps"));
    if capabilities.is_none_or(|line| line.contains("directio")) {
        return Vec::new();
    }
    let what = "there is none, or it is off: no guest can have a GPU of its own";
    vec![
        Finding::warning(Code::NoIommu, "IOMMU", what).remedy(
            "switch it on in the firmware (VT-d, AMD-Vi); xl dmesg | grep -i -e iommu -e VT-d",
        ),
    ]
}

fn pciback(host: &Host) -> Vec<Finding> {
    if host.has_pciback || !host.is_dom0 {
        return Vec::new();
    }
    let what = "the driver is not there: no device can be assigned to a guest";
    vec![Finding::warning(Code::NoPciback, "pciback", what).remedy("modprobe xen-pciback")]
}

/// C xenstored prints `nodes : 1000 …`; another one prints nothing of the kind.
fn quota(host: &Host) -> Vec<Finding> {
    let Ok(quota) = &host.quota else {
        return Vec::new();
    };
    let nodes = quota.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let number = value.split_whitespace().next()?;
        (name.trim() == "nodes").then(|| number.parse::<u64>().ok())?
    });
    // 0: no limit.
    let Some(nodes) = nodes.filter(|nodes| *nodes > 0) else {
        return Vec::new();
    };
    let sessions = nodes.saturating_sub(NODES_OF_GUEST) / NODES_OF_SESSION;
    if sessions >= FEW_SESSIONS {
        return Vec::new();
    }
    let what = format!("a guest may have {nodes} nodes: room for about {sessions} GPU sessions");
    vec![
        Finding::warning(Code::XenstoreQuota, "xenstored", what)
            .remedy("raise it: xenstore-control quota set nodes 1000"),
    ]
}

fn spool(host: &Host) -> Vec<Finding> {
    let (dir, free) = (host.spool.0.display(), host.spool.1);
    let finding = match free {
        Some(free) if free >= LITTLE_ROOM => return Vec::new(),
        Some(free) => Finding::warning(
            Code::SpoolFull,
            "spool",
            format!("{} are free in {dir}", bytes(free)),
        ),
        None => Finding::warning(
            Code::SpoolFull,
            "spool",
            format!("what is free in {dir} cannot be told"),
        ),
    };
    vec![finding.remedy(
        "free space there, or name another spool_dir in xl-gpu.conf: it takes what guests have in GPU memory",
    )]
}
