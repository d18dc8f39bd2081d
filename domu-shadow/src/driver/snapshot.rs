//! What the process holds, read from `/proc/self`: to tell what a driver left behind from what was there before.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// One mapping of a file or device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub range: Range<usize>,
    pub executable: bool,
    pub path: PathBuf,
}

/// Open files, mapped files and threads at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub files: BTreeMap<i32, PathBuf>,
    pub mappings: Vec<Mapping>,
    pub threads: Vec<i32>,
}

impl Snapshot {
    /// Reads the state now; what cannot be read is left out.
    pub fn take() -> Self {
        Snapshot {
            files: files(),
            mappings: mappings(),
            threads: threads(),
        }
    }

    /// Whether any library whose file name starts with `stem` is mapped.
    pub fn maps_library(&self, stem: &str) -> bool {
        self.mappings
            .iter()
            .any(|mapping| file_name(&mapping.path).starts_with(stem))
    }
}

/// The last part of a path, empty if there is none.
pub fn file_name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("")
}

/// Environment variable: what the paths of another driver's device nodes start with.
pub const NODES_VARIABLE: &str = "XL_GPU_DEVICE_NODES";

/// Whether a path is a GPU's device node.
pub fn is_device_node(path: &Path) -> bool {
    static OTHER: OnceLock<Option<String>> = OnceLock::new();
    let other = OTHER.get_or_init(|| std::env::var(NODES_VARIABLE).ok().filter(|p| !p.is_empty()));
    ["/dev/nvidia", "/dev/dri/", "/dev/kfd", "/dev/accel/"]
        .into_iter()
        .chain(other.as_deref())
        .any(|prefix| path.to_str().is_some_and(|path| path.starts_with(prefix)))
}

fn files() -> BTreeMap<i32, PathBuf> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return BTreeMap::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?))
        })
        .collect()
}

fn mappings() -> Vec<Mapping> {
    mappings_of(Path::new("/proc/self/maps")).unwrap_or_default()
}

/// The mappings of files in a process' `maps`.
pub fn mappings_of(maps: &Path) -> std::io::Result<Vec<Mapping>> {
    let maps = fs::read_to_string(maps)?;
    Ok(maps.lines().filter_map(mapping).collect())
}

/// `start-end perms offset device inode path`, as proc_pid_maps(5) has it; `None` without a path of a file.
fn mapping(line: &str) -> Option<Mapping> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let path = &rest[rest.find('/')?..];
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some(Mapping {
        range: start..end,
        executable: rest.as_bytes().get(2) == Some(&b'x'),
        path: PathBuf::from(path),
    })
}

fn threads() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// The calling thread's kernel id.
pub fn current_thread() -> i32 {
    // SAFETY: gettid(2) takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_maps_line() {
        let line = "7f01-7f02 r-xp 00000000 08:01 12 /usr/lib/lib a.so (deleted)";
        let read = mapping(line).unwrap();
        assert_eq!((read.range, read.executable), (0x7f01..0x7f02, true));
        assert_eq!(read.path, Path::new("/usr/lib/lib a.so (deleted)"));
        assert_eq!(mapping("7f01-7f02 rw-p 00000000 00:00 0 [stack]"), None);
    }

    #[test]
    fn sees_this_process() {
        let now = Snapshot::take();
        assert!(now.maps_library("libc.so"));
        assert!(now.threads.contains(&current_thread()));
    }
}
