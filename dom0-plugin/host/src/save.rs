//! Saves that run now: processes of libxl's helper, and whether the plugin is in them.

use super::helper;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use xen_bindings::guest::Version;

/// File name of the plugin, wherever it is.
const PLUGIN: &str = "/libxl_gpu_plugin.so";

/// A process that saves a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Save {
    pub pid: i32,
    pub domid: u32,
    pub plugin: Plugin,
}

/// Whether a save has the plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plugin {
    /// The process has not loaded its libraries yet.
    Loading,
    /// It is there, and works.
    Works,
    Missing(Missing),
}

/// Why a save is Xen's alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Xen's helper was started without it.
    NotLoaded,
    /// The plugin does not know this libxenguest, and leaves GPU state alone.
    Unknown { libxenguest: String },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::NotLoaded => f.write_str("libxl-save-helper was started without it"),
            Missing::Unknown { libxenguest } => {
                write!(f, "the plugin does not know {libxenguest}")
            }
        }
    }
}

/// All saves, by what `proc` (`/proc`) tells.
pub fn running(proc: &Path) -> Vec<Save> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| look(proc, pid)).collect()
}

fn look(proc: &Path, pid: i32) -> Option<Save> {
    let folder = proc.join(pid.to_string());
    let domid = saved_domain(&fs::read(folder.join("cmdline")).ok()?)?;
    let maps = fs::read_to_string(folder.join("maps")).ok()?;
    let plugin = plugin(&maps);
    Some(Save { pid, domid, plugin })
}

/// libxl's arguments (`libxl_save_callout.c`): the program, `--save-domain`, two descriptors, then numbers, the domain's first.
fn saved_domain(cmdline: &[u8]) -> Option<u32> {
    let mut arguments = cmdline.split(|byte| *byte == 0);
    let mut text = || std::str::from_utf8(arguments.next()?).ok();
    let (program, mode) = (text()?, text()?);
    let name = program.rsplit('/').next()?;
    if !name.starts_with(helper::NAME) || mode != "--save-domain" {
        return None;
    }
    text()?;
    text()?;
    text()?.parse().ok()
}

/// What is preloaded is mapped before libxenguest.
fn plugin(maps: &str) -> Plugin {
    let mut libxenguest = None;
    for file in maps.lines().filter_map(|line| line.split_once('/')) {
        let path = format!("/{}", file.1);
        if path.contains("/libxenguest.so.") {
            libxenguest = Some(path);
        }
    }
    let Some(libxenguest) = libxenguest else {
        return Plugin::Loading;
    };
    let is_known = Version::from_library_path(&libxenguest).is_some_and(Version::is_known);
    match (maps.contains(PLUGIN), is_known) {
        (true, true) => Plugin::Works,
        (true, false) => Plugin::Missing(Missing::Unknown { libxenguest }),
        (false, _) => Plugin::Missing(Missing::NotLoaded),
    }
}

impl Save {
    /// Ends it as libxl does when its caller gives up: the domain runs on, or is resumed.
    ///
    /// # Errors
    /// What the kernel says; none where it has ended already.
    pub fn end(&self) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(());
        };
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            process => process?,
        };
        // Of the process that is held now, not of one that had the number before.
        if look(Path::new("/proc"), self.pid).as_ref() != Some(self) {
            return Ok(());
        }
        match pidfd_send_signal(process, Signal::TERM) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_the_first_of_libxls_numbers() {
        let line = |text: &str| text.replace(' ', "\0").into_bytes();
        let helper = "/usr/lib/xen-4.17/bin/libxl-save-helper.distrib";
        let save = line(&format!("{helper} --save-domain 9 -1 42 1 28 0 "));
        assert_eq!(saved_domain(&save), Some(42));
        let restore = line(&format!("{helper} --restore-domain 9 -1 42 1 28 0 "));
        assert_eq!(saved_domain(&restore), None);
        // The wrapper, before it has become the helper.
        let wrapper = line(&format!("/bin/sh {helper} --save-domain 9 -1 42 "));
        assert_eq!(saved_domain(&wrapper), None);
        assert_eq!(saved_domain(b""), None);
    }

    #[test]
    fn a_plugin_beside_an_unknown_libxenguest_does_nothing() {
        let maps = |libraries: &[&str]| -> String {
            let line = |l: &&str| format!("7f00-7f01 r-xp 0 00:00 1    /usr/lib/{l}\n");
            libraries.iter().map(line).collect()
        };
        let ours = "xl-gpu/libxl_gpu_plugin.so";
        assert_eq!(plugin(&maps(&[ours])), Plugin::Loading);
        let both = maps(&[ours, "x86_64-linux-gnu/libxenguest.so.4.17.0"]);
        assert_eq!(plugin(&both), Plugin::Works);
        let newer = "libxenguest.so.4.99";
        assert_eq!(
            plugin(&maps(&[ours, newer])),
            Plugin::Missing(Missing::Unknown {
                libxenguest: format!("/usr/lib/{newer}")
            })
        );
        let stock = maps(&["libxenguest.so.4.17.0"]);
        assert_eq!(plugin(&stock), Plugin::Missing(Missing::NotLoaded));
    }
}
