//! Xen's `libxl-save-helper`, and whether ours stands in its place (`dom0-plugin/helper/save-helper-diversion`).

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Its name; Xen's own has `.distrib` behind it where ours is in its place.
pub const NAME: &str = "libxl-save-helper";
/// Where the plugin belongs.
pub const PLUGIN: &str = "/usr/lib/xl-gpu/libxl_gpu_plugin.so";

/// Folders below `/usr` of Xens that have no version in their path.
const UNVERSIONED: [&str; 4] = [
    "lib/xen/bin",
    "libexec/xen/bin",
    "local/lib/xen/bin",
    "local/libexec/xen/bin",
];
/// The wrapper says so in its first lines.
const MARK: &[u8] = b"with the xl-gpu plugin";
const HEAD: u64 = 512;

/// Who runs when libxl starts its helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelperState {
    /// The wrapper, and Xen's own by way of it.
    Diverted,
    /// Xen's own: saves run without the plugin.
    Stock,
    /// The wrapper, with nothing beside it: no save works.
    Broken,
}

impl fmt::Display for HelperState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HelperState::Diverted => "diverted",
            HelperState::Stock => "stock",
            HelperState::Broken => "broken",
        })
    }
}

/// The helper of one Xen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    /// What libxl starts.
    pub path: PathBuf,
    pub state: HelperState,
}

impl Helper {
    /// Of the Xen that has its programs in `folder`, if it is installed.
    pub fn of(folder: &Path) -> Option<Helper> {
        let path = folder.join(NAME);
        let diverted = distrib(&path).exists();
        let state = match (is_wrapper(&path), diverted) {
            (true, true) => HelperState::Diverted,
            (true, false) => HelperState::Broken,
            (false, _) if path.exists() => HelperState::Stock,
            (false, _) => return None,
        };
        Some(Helper { path, state })
    }

    /// Xen's own program.
    pub fn stock(&self) -> PathBuf {
        match self.state {
            HelperState::Diverted => distrib(&self.path),
            HelperState::Stock | HelperState::Broken => self.path.clone(),
        }
    }
}

/// Helpers of all Xens below `usr` (`/usr`), in the order of their paths.
pub fn installed(usr: &Path) -> Vec<Helper> {
    folders(usr).iter().filter_map(|f| Helper::of(f)).collect()
}

/// Folders that may have one.
pub fn folders(usr: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(usr.join("lib"))
        .into_iter()
        .flatten()
        .flatten();
    let versioned = entries
        .filter(|e| e.file_name().to_string_lossy().starts_with("xen-"))
        .map(|e| e.path().join("bin"));
    let plain = UNVERSIONED.iter().map(|folder| usr.join(folder));
    let mut all: Vec<PathBuf> = versioned.chain(plain).collect();
    all.sort();
    all
}

/// The helper that belongs to the hypervisor that runs, else any.
///
/// # Errors
/// `NotFound` where there is none.
pub fn running() -> io::Result<Helper> {
    let installed = installed(Path::new("/usr"));
    let own = running_version().map(|version| format!("/xen-{version}/"));
    let belongs = |h: &&Helper| {
        let path = h.path.to_string_lossy();
        own.as_ref().is_some_and(|own| path.contains(own.as_str()))
    };
    let found = installed.iter().find(belongs).or(installed.first());
    found.cloned().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "Xen's libxl-save-helper is not found",
        )
    })
}

/// Of the hypervisor that runs: `4.17`; `None` where none does.
pub fn running_version() -> Option<String> {
    let part = |name| fs::read_to_string(format!("/sys/hypervisor/version/{name}")).ok();
    let (major, minor) = (part("major")?, part("minor")?);
    Some(format!("{}.{}", major.trim(), minor.trim()))
}

fn distrib(path: &Path) -> PathBuf {
    path.with_file_name(format!("{NAME}.distrib"))
}

fn is_wrapper(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    read.is_ok() && head.windows(MARK.len()).any(|it| it == MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_xen_has_its_own_and_the_wrapper_is_known() {
        let usr = std::env::temp_dir().join(format!("xl-gpu-helpers-{}", std::process::id()));
        let wrapper = include_str!("../../helper/libxl-save-helper");
        let put = |path: &str, text: &str| {
            let path = usr.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("lib/xen-4.17/bin/libxl-save-helper", wrapper);
        put("lib/xen-4.17/bin/libxl-save-helper.distrib", "\x7fELF");
        put("lib/xen-4.20/bin/libxl-save-helper", "\x7fELF");
        put("lib/xen-common/bin/xl", "");
        put("libexec/xen/bin/libxl-save-helper", wrapper);
        let found = installed(&usr);
        let states: Vec<HelperState> = found.iter().map(|h| h.state).collect();
        assert_eq!(
            states,
            [
                HelperState::Diverted,
                HelperState::Stock,
                HelperState::Broken
            ]
        );
        let stock = found[0].stock();
        assert!(stock.ends_with("lib/xen-4.17/bin/libxl-save-helper.distrib"));
        fs::remove_dir_all(&usr).unwrap();
    }
}
