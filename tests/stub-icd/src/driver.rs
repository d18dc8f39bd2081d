//! The driver as a whole: loaded at the first question for platforms, unloaded by the dynamic linker.

use std::env;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opencl_sys::CL_PLATFORM_NOT_FOUND_KHR;

use crate::core::device::Device;
use crate::core::platform::Platform;
use crate::core::schedule;
use crate::ffi::CLResult;
use crate::lock::lock;
use crate::node::Node;
use crate::options::{self, Options};
use crate::{handle, linger, loads, memory, report, sibling, thread};

/// A loaded driver.
pub struct Driver {
    pub platform: Arc<Platform>,
    pub devices: Vec<Arc<Device>>,
    node: Node,
}

static DRIVER: Mutex<Option<Arc<Driver>>> = Mutex::new(None);

/// How long the unload waits for worker threads, which only callbacks of the program can hold up.
const PATIENCE: Duration = Duration::from_secs(5);

/// The loaded driver, loading it if need be.
///
/// # Errors
/// `CL_PLATFORM_NOT_FOUND_KHR` if the options are wrong or the device node cannot be opened; stderr says which.
pub fn load() -> CLResult<Arc<Driver>> {
    let mut driver = lock(&DRIVER);
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
    options::set(options.clone());
    loads::count(&options)?;
    let node = Node::open(&options)?;
    if options.stay_mapped || options.linger_thread {
        linger::stay_mapped()?;
    }
    if options.linger_thread {
        linger::start_thread()?;
    }
    if let Some(name) = &options.opens {
        sibling::call(name)?;
    }
    if options.forget > 0 {
        memory::forget(options.forget << 10);
    }
    let again = loads::number() > 1;
    let changed = |first: &str, later: &Option<String>| {
        later.clone().filter(|_| again).unwrap_or(first.to_owned())
    };
    let platform = Platform::new(options.spec);
    let devices: Vec<_> = (0..options.devices)
        .map(|index| {
            let number = match index {
                0 => String::new(),
                _ => format!(" {index}"),
            };
            let name = changed(&options.name, &options.name_after_reload) + &number;
            let vendor = changed(&options.vendor, &options.vendor_after_reload);
            let driver = changed(&options.driver, &options.driver_after_reload);
            Device::new(&platform, name, vendor, driver)
        })
        .collect();
    let Device { name, driver, .. } = &*devices[0];
    report::line("load", &format!("device {name:?} driver {driver:?}"));
    Ok(Arc::new(Driver {
        platform,
        devices,
        node,
    }))
}

/// Says on stderr what is wrong with the test's own configuration.
fn complain(reason: &str) {
    // Not `eprintln!`: it may leave a thread-local destructor behind (see `thread`).
    let line = format!("xl-gpu stub driver: {reason}\n");
    let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
}

/// Records device files and mappings that were taken away while the driver was there, each once.
pub fn check_node() {
    let driver = lock(&DRIVER).clone();
    let known = report::violations();
    let missing = driver.iter().flat_map(|driver| driver.node.missing());
    missing
        .filter(|text| !known.iter().any(|known| known.ends_with(text)))
        .for_each(report::violation);
}

/// The end, called by the dynamic linker before it unmaps the library, and at the process's exit.
pub fn unload() {
    if lock(&DRIVER).is_none() {
        return;
    }
    loads::leave();
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
    let bytes = memory::used();
    report::line(
        "unload",
        &format!("objects {objects} bytes {bytes} violations {violations}"),
    );
    let driver = lock(&DRIVER).take();
    if stuck == 0 {
        drop(driver);
        handle::clear();
    }
}
