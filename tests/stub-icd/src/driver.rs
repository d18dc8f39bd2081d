//! The driver as a whole: loaded at the first question for platforms, unloaded by the dynamic linker.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, fs};

use opencl_sys::CL_PLATFORM_NOT_FOUND_KHR;

use crate::core::device::Device;
use crate::core::platform::Platform;
use crate::core::schedule;
use crate::ffi::CLResult;
use crate::node::Node;
use crate::options::Options;
use crate::{handle, linger, memory, report, thread};

/// A loaded driver.
pub struct Driver {
    pub platform: Arc<Platform>,
    pub devices: Vec<Arc<Device>>,
    node: Node,
}

static DRIVER: Mutex<Option<Arc<Driver>>> = Mutex::new(None);
static OPTIONS: Mutex<Option<Arc<Options>>> = Mutex::new(None);
static LOADS: AtomicU64 = AtomicU64::new(0);
static LEAVING: AtomicBool = AtomicBool::new(false);

/// How long the unload waits for worker threads, which only callbacks of the program can hold up.
const PATIENCE: Duration = Duration::from_secs(5);

/// The options in force.
pub fn options() -> Arc<Options> {
    OPTIONS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default()
        .clone()
}

/// Puts other options in force. What is fixed at load (device node, identity, version) does not change any more.
pub fn set_options(options: Options) {
    *OPTIONS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(options));
}

/// Which load of the driver this is, from 1; 0 before the first question for platforms.
pub fn loads() -> u64 {
    LOADS.load(Ordering::Relaxed)
}

/// Whether the library is being unloaded: workers end, and nothing is called back any more.
pub fn leaving() -> bool {
    LEAVING.load(Ordering::Acquire)
}

/// The loaded driver, loading it if need be.
///
/// # Errors
/// `CL_PLATFORM_NOT_FOUND_KHR` if the options are wrong or the device node cannot be opened; stderr says which.
pub fn load() -> CLResult<Arc<Driver>> {
    let mut driver = DRIVER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(driver) = &*driver {
        return Ok(driver.clone());
    }
    let made = open().map_err(|reason| {
        complain(&reason);
        CL_PLATFORM_NOT_FOUND_KHR
    })?;
    *driver = Some(made.clone());
    Ok(made)
}

fn open() -> Result<Arc<Driver>, String> {
    let options = Options::parse(&env::var("XL_GPU_STUB").unwrap_or_default())?;
    set_options(options.clone());
    LOADS.store(count_load(&options)?, Ordering::Relaxed);
    let node = Node::open(&options)?;
    if options.stay_mapped || options.linger_thread {
        linger::stay_mapped()?;
    }
    if options.linger_thread {
        linger::start_thread()?;
    }
    if options.forget > 0 {
        memory::forget(options.forget << 10);
    }
    let again = loads() > 1;
    let changed = |first: &str, later: &Option<String>| {
        later.clone().filter(|_| again).unwrap_or(first.to_owned())
    };
    let platform = Platform::new(options.spec);
    let devices: Vec<_> = (0..options.devices)
        .map(|index| {
            let number = if index == 0 {
                String::new()
            } else {
                format!(" {index}")
            };
            let name = changed(&options.name, &options.name_after_reload) + &number;
            let vendor = changed(&options.vendor, &options.vendor_after_reload);
            let driver = changed(&options.driver, &options.driver_after_reload);
            Device::new(&platform, name, vendor, driver)
        })
        .collect();
    report::line(
        "load",
        &format!(
            "device {:?} driver {:?}",
            devices[0].name, devices[0].driver
        ),
    );
    Ok(Arc::new(Driver {
        platform,
        devices,
        node,
    }))
}

/// Counts this load in the file that outlives the library.
fn count_load(options: &Options) -> Result<u64, String> {
    let path = match &options.loads {
        Some(path) => path.clone(),
        None if options.changes_after_reload() => own_count_file(),
        None => return Ok(1),
    };
    let loads = fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
        + 1;
    fs::write(&path, format!("{loads}\n"))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(loads)
}

/// A file of this very process: its id alone may have been another's before.
fn own_count_file() -> PathBuf {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // proc_pid_stat(5): field 22, counted behind the name in parentheses, is the start time.
    let start = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().nth(19))
        .unwrap_or("0");
    env::temp_dir().join(format!("xl-gpu-stub-{}-{start}.loads", std::process::id()))
}

/// Says on stderr what is wrong with the test's own configuration.
fn complain(reason: &str) {
    // Not `eprintln!`: it may leave a thread-local destructor behind (see `thread`).
    let line = format!("xl-gpu stub driver: {reason}\n");
    let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
}

/// Records device files and mappings that were taken away while the driver was there, each once.
pub fn check_node() {
    let driver = DRIVER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let known = report::violations();
    let missing = driver.iter().flat_map(|driver| driver.node.missing());
    missing
        .filter(|text| !known.iter().any(|known| known.ends_with(text)))
        .for_each(report::violation);
}

/// The end, called by the dynamic linker before it unmaps the library, and at the process's exit.
pub fn unload() {
    if DRIVER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_none()
    {
        return;
    }
    LEAVING.store(true, Ordering::Release);
    schedule::changed();
    let stuck = thread::join_all(PATIENCE);
    if stuck > 0 {
        report::violation(format!(
            "unloaded while {stuck} of its threads were in callbacks"
        ));
    }
    check_node();
    let held = handle::held();
    for (kind, count) in &held {
        report::line("leak", &format!("{count} {kind}"));
    }
    let (objects, violations) = (held.values().sum::<u64>(), report::violations().len());
    report::line(
        "unload",
        &format!(
            "objects {objects} bytes {} violations {violations}",
            memory::used()
        ),
    );
    let driver = DRIVER.lock().unwrap_or_else(PoisonError::into_inner).take();
    if stuck == 0 {
        drop(driver);
        handle::clear();
    }
}
