//! What an examination goes by.

use super::command;
use crate::helper::{self, Helper};
use std::io;
use std::path::{Path, PathBuf};

/// The daemon, as far as it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Daemon {
    Runs {
        version: String,
    },
    /// With what stands in the way.
    Silent(String),
}

/// This host.
#[derive(Debug)]
pub struct Host {
    pub daemon: Daemon,
    /// The version of the command that asks.
    pub version: String,
    /// The hypervisor's; `None` where none runs.
    pub xen: Option<String>,
    pub is_dom0: bool,
    /// Of each Xen whose programs are installed.
    pub helpers: Vec<Helper>,
    pub has_plugin: bool,
    /// `LIBXL_SAVE_HELPER` of whoever asks.
    pub save_helper: Option<PathBuf>,
    /// What `xl info` prints.
    pub info: io::Result<String>,
    /// What `xenstore-control quota` prints.
    pub quota: io::Result<String>,
    pub has_pciback: bool,
    /// Folder of the spool, and bytes that are free there; `None` where that cannot be told.
    pub spool: (PathBuf, Option<u64>),
}

impl Host {
    /// Looks at this one.
    pub fn look(daemon: Daemon, version: &str) -> Host {
        let capabilities = std::fs::read_to_string("/proc/xen/capabilities").unwrap_or_default();
        let is_dom0 = capabilities.contains("control_d");
        let elsewhere = || Err(io::Error::other("this is no dom0"));
        let asked = std::env::var_os("LIBXL_SAVE_HELPER").filter(|path| !path.is_empty());
        let spool = spool_dir();
        let free = free(&spool);
        Host {
            daemon,
            version: version.to_owned(),
            xen: helper::running_version(),
            is_dom0,
            helpers: helper::installed(Path::new("/usr")),
            has_plugin: Path::new(helper::PLUGIN).exists(),
            save_helper: asked.map(PathBuf::from),
            info: if is_dom0 {
                command::output("xl", &["info"])
            } else {
                elsewhere()
            },
            quota: if is_dom0 {
                command::output("xenstore-control", &["quota"])
            } else {
                elsewhere()
            },
            has_pciback: Path::new("/sys/bus/pci/drivers/pciback").exists(),
            spool: (spool, free),
        }
    }
}

/// As `xl-gpu.conf` says; the daemon itself says what is wrong in there.
fn spool_dir() -> PathBuf {
    let text = std::fs::read_to_string("/etc/xen/xl-gpu.conf").unwrap_or_default();
    let named = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let value = value.trim().strip_prefix('"')?.split('"').next()?;
        (name.trim() == "spool_dir").then(|| PathBuf::from(value))
    });
    named.unwrap_or_else(|| PathBuf::from("/var/lib/xl-gpu/spool"))
}

/// Of the folder, or of the one in which it will be made.
fn free(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|folder| folder.exists())?;
    let space = rustix::fs::statvfs(there).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}
