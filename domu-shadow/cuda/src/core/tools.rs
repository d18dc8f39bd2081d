//! Debuggers, profilers and other devices: the driver is not checkpointed under them.

use std::ffi::{CStr, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Parts of the names of libraries that are in a process only to watch it. CUPTI alone is not: PyTorch always brings it.
const WATCHERS: [&[u8]; 5] = [
    b"libToolsInjection",
    b"libsanitizer-collection",
    b"libcuda-injection",
    b"TreeLauncherTargetInjection",
    b"libInterceptorInjectionTarget",
];

/// What is attached, if something is.
pub fn attached() -> Option<String> {
    if let Some(tracer) = tracer() {
        return Some(format!("a debugger is attached (process {tracer})"));
    }
    if let Some(path) = others_device() {
        return Some(format!(
            "other devices may reach its device memory ({} is open)",
            path.display()
        ));
    }
    if std::env::var_os("CUDA_INJECTION64_PATH").is_some_and(|path| !path.is_empty()) {
        return Some("a profiler is attached (CUDA_INJECTION64_PATH)".to_owned());
    }
    is_watched().then(|| "a profiler or sanitizer is attached".to_owned())
}

/// A device through which others read and write device memory, behind the driver's back.
fn others_device() -> Option<PathBuf> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?;
    let paths = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let is_one = |path: &PathBuf| {
        path.starts_with("/dev/infiniband") || path.as_path() == Path::new("/dev/gdrdrv")
    };
    { paths }.find(is_one)
}

/// The process that traces this one.
fn tracer() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"))?;
    line.trim().parse().ok().filter(|tracer| *tracer != 0)
}

/// What was found when so many libraries had been loaded.
static LOADED: AtomicU64 = AtomicU64::new(0);
static FOUND: AtomicBool = AtomicBool::new(false);

fn is_watched() -> bool {
    // SAFETY: the callback has the prototype asked for and reads only what it is given; it needs no data.
    unsafe { libc::dl_iterate_phdr(Some(look), std::ptr::null_mut()) };
    FOUND.load(Ordering::Relaxed)
}

/// Looks at one library; not zero: enough.
unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, size: usize, _: *mut c_void) -> c_int {
    // SAFETY: the loader gives a valid one.
    let info = unsafe { &*info };
    if size >= size_of::<libc::dl_phdr_info>()
        && LOADED.swap(info.dlpi_adds, Ordering::Relaxed) == info.dlpi_adds
        && is_first(info)
    {
        return 1;
    }
    if info.dlpi_name.is_null() {
        return 0;
    }
    // SAFETY: the loader's, ended by a zero.
    let name = unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes();
    let has = |part: &&[u8]| name.windows(part.len()).any(|window| window == *part);
    if WATCHERS.iter().any(has) {
        FOUND.store(true, Ordering::Relaxed);
    }
    0
}

/// The program itself comes first, without a name.
fn is_first(info: &libc::dl_phdr_info) -> bool {
    // SAFETY: the loader's, ended by a zero, or null.
    info.dlpi_name.is_null() || unsafe { *info.dlpi_name } == 0
}
