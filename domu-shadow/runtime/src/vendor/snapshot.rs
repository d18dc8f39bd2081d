//! What the process holds, read from `/proc/self`: to tell what a driver left behind from what was there before.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::fronts;
use super::paths::file_name;

/// One mapping of a file or device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub range: Range<usize>,
    pub executable: bool,
    pub path: PathBuf,
}

/// Where the kernel places nothing by itself in a 64-bit process: what lies below was put there by address.
const CHOSEN: usize = 1 << 40;

/// Open files, mapped files (but our own that stand before a vendor's), address space reserved below `CHOSEN` and threads at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub files: BTreeMap<i32, PathBuf>,
    pub mappings: Vec<Mapping>,
    pub reserved: Vec<Range<usize>>,
    pub threads: Vec<i32>,
    /// Nothing is missing. Reading takes two descriptors, which a process may not have.
    pub is_whole: bool,
}

/// Why a process can't be moved that can't be looked at.
pub const UNREAD: &str =
    "what it holds cannot be read in /proc/self: it may have too many files open";

/// Whether there was no descriptor to look with.
pub fn is_short(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

impl Snapshot {
    /// Reads the state now; what cannot be read is left out.
    pub fn take() -> Self {
        let maps = fs::read_to_string("/proc/self/maps");
        let (files, threads) = (files(), threads());
        let is_whole = maps.is_ok() && files.is_ok() && threads.is_ok();
        let maps = maps.unwrap_or_default();
        Snapshot {
            files: files.unwrap_or_default(),
            mappings: maps
                .lines()
                .filter_map(mapping)
                .filter(|mapping| !fronts::is_front(&mapping.path))
                .collect(),
            reserved: maps.lines().filter_map(reservation).collect(),
            threads: threads.unwrap_or_default(),
            is_whole,
        }
    }

    /// GPUs' device nodes that are open or mapped.
    pub fn devices(&self) -> impl Iterator<Item = &PathBuf> {
        let files = self.files.values();
        let paths = files.chain(self.mappings.iter().map(|mapping| &mapping.path));
        paths.filter(|path| is_device_node(path))
    }

    /// Whether any library whose file name starts with `stem` is mapped.
    pub fn maps_library(&self, stem: &str) -> bool {
        self.mappings
            .iter()
            .any(|mapping| file_name(&mapping.path).starts_with(stem))
    }
}

/// Environment variable: what the paths of another driver's device nodes start with.
pub const NODES_VARIABLE: &str = "XL_GPU_DEVICE_NODES";

/// Whether a path is a GPU's device node.
pub fn is_device_node(path: &Path) -> bool {
    let starts = |prefix| path.to_str().is_some_and(|path| path.starts_with(prefix));
    ["/dev/nvidia", "/dev/dri/", "/dev/kfd", "/dev/accel/"]
        .into_iter()
        .any(starts)
        || is_other_node(path)
}

/// Whether it is one by the environment variable.
pub(super) fn is_other_node(path: &Path) -> bool {
    static OTHER: OnceLock<Option<String>> = OnceLock::new();
    let other = OTHER.get_or_init(|| std::env::var(NODES_VARIABLE).ok().filter(|p| !p.is_empty()));
    let starts = |prefix: &String| path.to_str().is_some_and(|path| path.starts_with(prefix));
    other.as_ref().is_some_and(starts)
}

fn files() -> io::Result<BTreeMap<i32, PathBuf>> {
    let file = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, fs::read_link(entry.path()).ok()?))
    };
    let entries = fs::read_dir("/proc/self/fd")?;
    Ok(entries.flatten().filter_map(file).collect())
}

/// The mappings of files in a process' `maps`.
pub fn mappings_of(maps: &Path) -> io::Result<Vec<Mapping>> {
    let maps = fs::read_to_string(maps)?;
    Ok(maps.lines().filter_map(mapping).collect())
}

/// `start-end perms offset device inode path`, as proc_pid_maps(5) has it: the range, and the rest.
fn range(line: &str) -> Option<(Range<usize>, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start..end, rest))
}

/// `None` without a path of a file.
fn mapping(line: &str) -> Option<Mapping> {
    let (range, rest) = range(line)?;
    let path = &rest[rest.find('/')?..];
    Some(Mapping {
        range,
        executable: rest.as_bytes().get(2) == Some(&b'x'),
        path: PathBuf::from(path),
    })
}

/// Address space below `CHOSEN` that nobody may touch, with nothing behind it.
fn reservation(line: &str) -> Option<Range<usize>> {
    let (range, rest) = range(line)?;
    let mut words = rest.split_ascii_whitespace();
    let is_reserved =
        words.next() == Some("---p") && words.nth(2) == Some("0") && words.next().is_none();
    (is_reserved && range.end <= CHOSEN).then_some(range)
}

fn threads() -> io::Result<Vec<i32>> {
    let thread = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let entries = fs::read_dir("/proc/self/task")?;
    Ok(entries.flatten().filter_map(thread).collect())
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
    fn knows_reserved_address_space() {
        let read = |perms, end, what| {
            reservation(&format!("200000000-{end} {perms} 00000000 00:00 {what}"))
        };
        assert_eq!(
            read("---p", "300200000", "0 "),
            Some(0x2_0000_0000..0x3_0020_0000)
        );
        assert_eq!(read("rw-p", "300200000", "0 "), None);
        assert_eq!(read("---p", "300200000", "12 /usr/lib/a.so"), None);
        assert_eq!(read("---p", "7f0000000000", "0 "), None);
    }

    #[test]
    fn sees_this_process() {
        let now = Snapshot::take();
        assert!(now.maps_library("libc.so"));
        assert!(now.threads.contains(&crate::thread::current()));
    }
}
