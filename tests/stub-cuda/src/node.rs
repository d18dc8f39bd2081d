//! The device nodes that the driver holds open and mapped while it has something on the devices.

use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::lock::lock;
use crate::options::in_force;

const PAGE: usize = 4096;

/// Mappings of each device's node while it has a context.
const MAPPINGS: usize = 2;

#[derive(Default)]
struct Held {
    files: Vec<OwnedFd>,
    /// Addresses.
    mappings: Vec<usize>,
}

static HELD: Mutex<Held> = Mutex::new(Held {
    files: Vec::new(),
    mappings: Vec::new(),
});

/// The node of a device by number; none where the options name no folder.
pub fn of_device(number: usize) -> Option<PathBuf> {
    let folder = in_force().nodes.as_ref()?;
    Some(folder.join(format!("nvidia{number}")))
}

/// Whether the device is there, as far as its node tells.
pub fn is_present(number: usize) -> bool {
    of_device(number).is_none_or(|node| node.exists())
}

/// Opens what the driver itself needs, and for each device that has contexts its node and mappings of it. Nothing where
/// no folder was named. All or nothing.
///
/// # Errors
/// Says which node cannot be opened or mapped.
pub fn open(devices: &[usize]) -> Result<(), String> {
    let Some(folder) = in_force().nodes.as_ref() else {
        return Ok(());
    };
    let mut held = Held::default();
    for name in ["nvidiactl", "nvidia-uvm"] {
        let path = folder.join(name);
        if path.exists() {
            held.files.push(open_file(path)?);
        }
    }
    for number in devices {
        let file = open_file(folder.join(format!("nvidia{number}")))?;
        for _ in 0..MAPPINGS {
            held.mappings.push(map(&file)?);
        }
        held.files.push(file);
    }
    let before = std::mem::replace(&mut *lock(&HELD), held);
    close_held(before, 0, 0);
    Ok(())
}

/// Closes all but as many as the options order to leak.
pub fn close() {
    let options = in_force();
    let held = std::mem::take(&mut *lock(&HELD));
    close_held(held, options.leak_fds, options.leak_maps);
}

fn close_held(mut held: Held, leak_fds: usize, leak_maps: usize) {
    let kept = held.files.len().min(leak_fds);
    held.files.drain(..kept).for_each(std::mem::forget);
    for start in held.mappings.into_iter().skip(leak_maps) {
        // SAFETY: mapped by `map`, and nothing was ever read through it.
        unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(start), PAGE) };
    }
}

fn open_file(path: PathBuf) -> Result<OwnedFd, String> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_CLOEXEC)
        .open(&path)
        .map(OwnedFd::from)
        .map_err(|error| format!("device node {}: {error}", path.display()))
}

fn map(file: &OwnedFd) -> Result<usize, String> {
    // SAFETY: a new mapping at an address of the kernel's choice; nothing is ever read through it.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    match start == libc::MAP_FAILED {
        true => Err(format!(
            "mapping a device node: {}",
            std::io::Error::last_os_error()
        )),
        false => Ok(start.expose_provenance()),
    }
}
