//! The device node that the driver holds: file descriptors and mappings, left behind at unload as NVIDIA's driver does.

use std::fs::OpenOptions;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::options::Options;

const MAP_SIZE: usize = 4096;

/// Address space is reserved at the first free multiple of `STEP` below `END`, as NVIDIA's driver does (580.159).
const STEP: usize = 8 << 30;
const END: usize = 1 << 40;

/// What is open. Dropping it closes nothing: that is the point.
#[derive(Default)]
pub struct Node {
    files: Vec<(RawFd, u64)>,
    mappings: Vec<usize>,
}

/// Stands for a compiler's static objects, which are destroyed by handlers.
extern "C" fn nothing() {}

impl Node {
    /// Opens and maps the node as often as the options say.
    ///
    /// # Errors
    /// Says what could not be opened or mapped.
    pub fn open(options: &Options) -> Result<Node, String> {
        let mut node = Node::default();
        for _ in 0..options.exit_handlers {
            // SAFETY: this library's own function, which its end takes off the list.
            unsafe { libc::atexit(nothing) };
        }
        if options.reserve > 0 {
            reserve(options.reserve << 30)?;
        }
        if options.leak_fds == 0 && options.leak_maps == 0 && options.device.is_none() {
            return Ok(node);
        }
        for _ in 0..options.leak_fds.max(usize::from(options.leak_maps > 0)) {
            node.files.push(open(options.device.as_deref())?);
        }
        for nth in 0..options.leak_maps {
            node.mappings
                .push(map(node.files[nth % node.files.len()].0)?);
        }
        if options.leak_fds == 0
            && let Some((file, _)) = node.files.pop()
        {
            // SAFETY: opened above and used for mapping only.
            unsafe { libc::close(file) };
        }
        Ok(node)
    }

    /// What somebody took away under the loaded driver.
    pub fn missing(&self) -> Vec<String> {
        let files = self
            .files
            .iter()
            .filter(|(file, inode)| inode_of(*file) != Some(*inode));
        let files = files.map(|(file, _)| {
            format!("device file descriptor {file} was closed under the loaded driver")
        });
        let mappings = self.mappings.iter().filter(|&&start| !is_mapped(start));
        files
            .chain(
                mappings.map(|at| {
                    format!("device mapping {at:#x} was removed under the loaded driver")
                }),
            )
            .collect()
    }
}

fn open(path: Option<&Path>) -> Result<(RawFd, u64), String> {
    let file = match path {
        Some(path) => OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_CLOEXEC)
            .open(path)
            .map_err(|error| format!("device node {}: {error}", path.display()))?,
        None => rustix::fs::memfd_create("xl-gpu-stub-device", rustix::fs::MemfdFlags::CLOEXEC)
            .map_err(|error| format!("memfd: {error}"))?
            .into(),
    };
    let inode = file
        .metadata()
        .map_err(|error| format!("device node: {error}"))?
        .ino();
    Ok((file.into_raw_fd(), inode))
}

fn map(file: RawFd) -> Result<usize, String> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice; nothing is ever read through it.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            MAP_SIZE,
            protection,
            libc::MAP_SHARED,
            file,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(format!(
            "mapping the device node: {}",
            std::io::Error::last_os_error()
        ));
    }
    Ok(start.addr())
}

fn reserve(bytes: usize) -> Result<(), String> {
    let flags =
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    let reserved = (STEP..END).step_by(STEP).any(|place| {
        let place = std::ptr::without_provenance_mut(place);
        // SAFETY: a new mapping where there is none, or an error.
        let start = unsafe { libc::mmap(place, bytes, libc::PROT_NONE, flags, -1, 0) };
        start != libc::MAP_FAILED
    });
    match reserved {
        true => Ok(()),
        false => Err("no address space is left to reserve".to_owned()),
    }
}

fn inode_of(file: RawFd) -> Option<u64> {
    std::fs::metadata(format!("/proc/self/fd/{file}"))
        .ok()
        .map(|metadata| metadata.ino())
}

fn is_mapped(start: usize) -> bool {
    let mut page = 0_u8;
    // SAFETY: mincore(2) only looks at the page tables; the result has one byte for the one page.
    unsafe {
        libc::mincore(
            std::ptr::with_exposed_provenance_mut(start),
            MAP_SIZE,
            &raw mut page,
        ) == 0
    }
}
