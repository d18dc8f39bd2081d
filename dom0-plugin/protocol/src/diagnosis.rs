//! What an examination of a domain finds: `xl-gpu doctor`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What an examination came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The domain.
    pub domid: u32,
    /// Its name.
    pub name: String,
    /// Its sessions.
    pub sessions: usize,
    /// Nothing that is known would refuse a migration.
    pub can_migrate: bool,
    /// What was found, errors first.
    pub findings: Vec<Finding>,
}

/// What a finding means for a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The migration is refused.
    Error,
    /// It may fail, or cost more than it need.
    Warning,
    /// Good to know.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// What kind of thing was found: stable over versions, and a heading of `docs/troubleshooting.md`.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
            /// Of another version.
            #[default]
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl Code {
            /// All that this version knows.
            pub const ALL: &[Code] = &[$(Code::$variant,)+];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$variant => $name,)+
                    Code::Unknown => "unknown",
                }
            }
        }
    };
}

codes! {
    /// The domain has no session.
    NoSession = "no-session",
    /// Nodes in XenStore that no session can be made of.
    SessionNonsense = "session-nonsense",
    /// A program uses what cannot be moved.
    SessionBlocked = "session-blocked",
    /// The library in the guest and xl-gpud have no version of the channel's protocol in common.
    SessionProtocol = "session-protocol",
    /// A session does not open.
    SessionSilent = "session-silent",
    /// Its state is being given back.
    SessionArriving = "session-arriving",
    /// It was detached by request.
    SessionDetached = "session-detached",
    /// It is detached, and its image is on another host or nowhere.
    ImageMissing = "image-missing",
    /// It is detached, and its image has not been given back yet.
    ImageWaiting = "image-waiting",
    /// The guest's limit of grants leaves a session few pages.
    FewPages = "few-pages",
    /// Much is left to the driver's own checkpoint.
    LeftToDriver = "left-to-driver",
    /// Processes without a session hold the GPU.
    OthersHoldGpu = "others-hold-gpu",
    /// Whether they do cannot be seen.
    OthersUnseen = "others-unseen",
    /// The images would exceed the guest's quota.
    SpoolQuota = "spool-quota",
    /// The images find no room.
    SpoolFull = "spool-full",
    /// Something is being done with the domain.
    DomainBusy = "domain-busy",
    /// xl would run the stock helper.
    HelperUnset = "helper-unset",
    /// xl would run a helper that is not there.
    HelperMissing = "helper-missing",
    /// Xen's own helper is in its place: saves run without the plugin.
    HelperStock = "helper-stock",
    /// The wrapper of the helper is in its place, and Xen's own is gone.
    HelperBroken = "helper-broken",
    /// xl-gpud does not answer.
    DaemonDown = "daemon-down",
    /// It is of another version than the command.
    DaemonVersion = "daemon-version",
    /// The host is no dom0.
    NoDom0 = "no-dom0",
    /// No IOMMU is on.
    NoIommu = "no-iommu",
    /// dom0 has no driver to assign devices by.
    NoPciback = "no-pciback",
    /// XenStore lets a guest have few sessions.
    XenstoreQuota = "xenstore-quota",
    /// The wrapper of the helper has no plugin beside it.
    PluginMissing = "plugin-missing",
    /// The stock helper cannot be looked at.
    HelperUnreadable = "helper-unreadable",
    /// A libxenguest that the plugin does not know.
    LibxenguestUnknown = "libxenguest-unknown",
    /// xl cannot be run or asked.
    XlUnusable = "xl-unusable",
    /// The toolstack does not tell a domain's devices.
    DevicesUnreadable = "devices-unreadable",
    /// xl-gpu leaves the domain's devices where they are.
    DeviceStays = "device-stays",
    /// A device was detached for a migration and is not back.
    DeviceAway = "device-away",
    /// A device was to leave and may do so yet.
    DeviceLeaving = "device-leaving",
    /// The guest has not taken a device.
    DeviceNotTaken = "device-not-taken",
    /// The guest does not have a device as it should.
    DeviceAbsent = "device-absent",
    /// The guest's device model has a device that the toolstack does not list.
    DeviceGhost = "device-ghost",
    /// Something in the guest uses the device's driver.
    DeviceInUse = "device-in-use",
    /// Whether something does is not known.
    DeviceUsersUnknown = "device-users-unknown",
    /// The domain is to get a device and cannot.
    DeviceNotGivable = "device-not-givable",
    /// The guest's PCI window is too small for a device.
    DeviceNoRoom = "device-no-room",
    /// dom0 does not see a device.
    DeviceMissing = "device-missing",
    /// A device does not answer.
    DeviceDead = "device-dead",
    /// A driver of dom0's has a device.
    DeviceDriver = "device-driver",
    /// dom0 cannot reset a device.
    DeviceNoReset = "device-no-reset",
    /// A device is found by its address on the other host.
    DeviceAddress = "device-address",
    /// CUDA programs need the same chip on the other host.
    SameChip = "same-chip",
    /// A command of xl-gpu.conf cannot be run.
    HookNotRunnable = "hook-not-runnable",
    /// The domain was built so that it cannot take a device.
    PassthroughOff = "passthrough-off",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Of what kind it is.
    #[serde(default)]
    pub code: Code,
    /// What it means.
    pub severity: Severity,
    /// What it is about: a session, a device, the spool.
    pub subject: String,
    /// What was found.
    pub what: String,
    /// What to do about it; empty where nothing need be done.
    pub remedy: String,
}

impl Finding {
    fn new(severity: Severity, code: Code, subject: &str, what: impl Into<String>) -> Self {
        Finding {
            code,
            severity,
            subject: subject.to_owned(),
            what: what.into(),
            remedy: String::new(),
        }
    }

    /// The domain cannot be migrated.
    pub fn error(code: Code, subject: &str, what: impl Into<String>) -> Self {
        Finding::new(Severity::Error, code, subject, what)
    }

    /// It can, but.
    pub fn warning(code: Code, subject: &str, what: impl Into<String>) -> Self {
        Finding::new(Severity::Warning, code, subject, what)
    }

    /// Good to know.
    pub fn note(code: Code, subject: &str, what: impl Into<String>) -> Self {
        Finding::new(Severity::Note, code, subject, what)
    }

    /// What to do about it.
    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        Finding {
            remedy: remedy.into(),
            ..self
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        match self.code {
            Code::Unknown => Ok(()),
            code => write!(f, " [{code}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_word_on_the_wire_and_another_versions_is_no_error() {
        for code in Code::ALL {
            let json = serde_json::to_value(code).unwrap();
            assert_eq!(json, code.as_str());
            assert_eq!(serde_json::from_value::<Code>(json).unwrap(), *code);
        }
        let newer =
            r#"{"code":"moon-phase","severity":"note","subject":"s","what":"w","remedy":""}"#;
        let finding: Finding = serde_json::from_str(newer).unwrap();
        assert_eq!(finding.to_string(), "s: w");
        let older = r#"{"severity":"note","subject":"s","what":"w","remedy":"r"}"#;
        let finding: Finding = serde_json::from_str(older).unwrap();
        assert_eq!(finding.to_string(), "s: w; r");
    }

    #[test]
    fn a_finding_ends_with_its_code() {
        let finding = Finding::error(Code::SpoolFull, "spool", "no room").remedy("make some");
        assert_eq!(
            finding.to_string(),
            "spool: no room; make some [spool-full]"
        );
    }

    /// What an administrator reads about each code.
    #[test]
    fn each_code_is_explained_under_troubleshooting() {
        let page = include_str!("../../../docs/troubleshooting.md");
        let headings: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
            .collect();
        for code in Code::ALL {
            let count = headings.iter().filter(|h| **h == code.as_str()).count();
            assert_eq!(count, 1, "### `{code}` in docs/troubleshooting.md");
        }
        for heading in headings {
            let known = Code::ALL.iter().any(|code| code.as_str() == heading);
            assert!(
                known,
                "docs/troubleshooting.md explains {heading}, which nothing finds"
            );
        }
    }
}
