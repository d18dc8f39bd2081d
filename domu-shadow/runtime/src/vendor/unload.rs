//! Unloading the drivers for real.
//!
//! The order is the point: objects first (by the caller), then the libraries in dependency order until none is
//! mapped, and only then the device files and mappings that the driver left behind. Where a library's threads live on,
//! or a library stays mapped, it is left alone and reported as a holder.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::cuda;
use super::family::{self, FAMILY_NODES};
use super::heap;
use super::loaded::{self, Loaded, Vendor};
use super::paths::{file_name, library_stem};
use super::snapshot::{Mapping, Snapshot, UNREAD};
use super::threads;
use crate::phase_timer::PhaseTimer;

/// What is still there after unloading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Libraries that stay mapped, with the reason. Harmless unless they hold a device.
    pub libraries: Vec<String>,
    /// Device nodes still open or mapped: the GPU cannot be taken away.
    pub devices: Vec<String>,
}

/// Closes every vendor's library and what it left behind. No object of a driver may be in use any more. `leave` takes off the device what a
/// driver has that stays loaded, once libraries are closed that may call it, and says what it could not.
pub fn unload(
    timer: &mut PhaseTimer,
    leave: impl FnOnce(&mut PhaseTimer) -> Vec<String>,
) -> Holders {
    let mut loaded = loaded::loaded();
    let before = loaded.before.clone().unwrap_or_default();
    let mut holders = Holders::default();
    let had_any = !loaded.vendors.is_empty();
    for vendor in std::mem::take(&mut loaded.vendors) {
        let threads = threads::lasting(&before, &library_stem(&vendor.name));
        timer.lap("threads");
        if threads.as_ref().is_some_and(Vec::is_empty) {
            close(vendor, &before, &mut holders);
            timer.lap("library");
        } else {
            let why = threads.map_or(UNREAD.to_owned(), |threads| {
                format!("{} of its threads live on", threads.len())
            });
            let name = vendor.name.display();
            holders.libraries.push(format!("{name}: {why}"));
            loaded.vendors.push(vendor);
        }
    }
    if loaded.vendors.is_empty() {
        loaded.bound.clear();
    }
    let on_device = leave(timer);
    let now = Snapshot::take();
    // CUDA's part stays in the process, and has what it has until its own checkpoint.
    let family_stays = cuda::is_open()
        || !on_device.is_empty()
        || !now.is_whole
        || family::stems().any(|stem| newly_mapped(stem, &now, &before).is_some());
    let vendor_stays = !holders.libraries.is_empty();
    let left = Left::of(&loaded, &now, &before);
    timer.lap("looking");
    left.close(|path, is_drivers| {
        // That family opens some whenever it likes, and has these nodes for itself.
        if path.to_string_lossy().starts_with(FAMILY_NODES) {
            !family_stays
        } else {
            !vendor_stays && is_drivers
        }
    });
    timer.lap("what it left open");
    if !family_stays {
        let pieces = heap::free_forgotten();
        log::debug!("{pieces} pieces of memory, left by a driver, are freed");
    }
    if !family_stays && !vendor_stays {
        give_back(std::mem::take(&mut loaded.reserved));
    }
    let now = Snapshot::take();
    holders.devices = Left::of(&loaded, &now, &before).names();
    holders.devices.extend(on_device);
    if had_any && !now.is_whole {
        holders.devices.push(UNREAD.to_owned());
    }
    loaded.forget_closed(&now);
    // What is held now must not look as if it had been there before the next load.
    if loaded.vendors.is_empty() && holders == Holders::default() {
        loaded.before = None;
    }
    if had_any {
        // The list of exit handlers can be used again from where the drivers' began.
        crate::process_exit::register();
        // SAFETY: gives free pages of the allocator back to the kernel; any thread may call it at any time.
        unsafe { libc::malloc_trim(0) };
    }
    timer.lap("the rest");
    holders
}

fn close(vendor: Vendor, before: &Snapshot, holders: &mut Holders) {
    let name = vendor.name.clone();
    if let Err(error) = vendor.library.close() {
        holders
            .libraries
            .push(format!("{}: {error}", name.display()));
        return;
    }
    // Closing one may let another go, or show one that it had kept.
    for _ in 0..3 {
        let members = family::of(&name).iter();
        members.for_each(|member| close_member(member, before));
    }
    let now = Snapshot::take();
    if let Some(path) = newly_mapped(&library_stem(&name), &now, before) {
        holders
            .libraries
            .push(format!("{path}: stays mapped after dlclose"));
    } else if !now.is_whole {
        holders
            .libraries
            .push(format!("{}: {UNREAD}", name.display()));
    }
}

fn newly_mapped(stem: &str, now: &Snapshot, before: &Snapshot) -> Option<String> {
    if before.maps_library(stem) {
        return None;
    }
    now.mappings
        .iter()
        .find(|m| file_name(&m.path).starts_with(stem))
        .map(|m| m.path.display().to_string())
}

/// Drops every reference to the libraries of one family member that were not there before the driver.
fn close_member(stem: &str, before: &Snapshot) {
    const MOST_REFERENCES: usize = 32;
    if before.maps_library(stem) || cuda::is_open() && stem.starts_with("libcuda") {
        return;
    }
    let now = Snapshot::take();
    let paths: BTreeSet<_> = now
        .mappings
        .into_iter()
        .map(|m| m.path)
        .filter(|path| file_name(path).starts_with(stem))
        .collect();
    for path in paths {
        let Ok(name) = CString::new(path.as_os_str().as_bytes()) else {
            continue;
        };
        for _ in 0..MOST_REFERENCES {
            // SAFETY: with RTLD_NOLOAD this only looks for a library that is mapped; no code of it runs.
            let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
            if handle.is_null() {
                break;
            }
            // SAFETY: the first call gives back the reference just taken, the second one that the driver left: no
            // thread of the family lives and no object of it is in use.
            unsafe {
                libc::dlclose(handle);
                libc::dlclose(handle);
            }
        }
    }
}

/// Unmaps the address space that drivers reserved and forgot: NVIDIA's (580.159) takes one of 127 places at each load, and
/// has no platform when none is left.
fn give_back(reserved: Vec<Range<usize>>) {
    for left in Snapshot::take().reserved {
        if reserved
            .iter()
            .any(|range| range.start <= left.start && left.end <= range.end)
        {
            let start = std::ptr::with_exposed_provenance_mut(left.start);
            // SAFETY: reserved by a driver that is unloaded, and nothing can be reached there.
            unsafe { libc::munmap(start, left.len()) };
        }
    }
}

/// What is open or mapped of the drivers' device nodes that was not before them; and whether a driver was seen to do it.
#[derive(Default)]
struct Left {
    files: Vec<(i32, PathBuf, bool)>,
    mappings: Vec<(Mapping, bool)>,
}

impl Left {
    fn of(loaded: &Loaded, now: &Snapshot, before: &Snapshot) -> Left {
        let mut left = Left::default();
        for (&number, path) in &now.files {
            if is_drivers_node(loaded, path) && before.files.get(&number) != Some(path) {
                let is_drivers = loaded.files.contains(&(number, path.clone()));
                left.files.push((number, path.clone(), is_drivers));
            }
        }
        for mapping in &now.mappings {
            if is_drivers_node(loaded, &mapping.path) && !before.mappings.contains(mapping) {
                let is_drivers = loaded.mappings.contains(mapping);
                left.mappings.push((mapping.clone(), is_drivers));
            }
        }
        left
    }

    fn names(&self) -> Vec<String> {
        let files = self.files.iter();
        let files =
            files.map(|(number, path, _)| format!("{} (file descriptor {number})", path.display()));
        let mappings = self.mappings.iter().map(|(mapping, _)| {
            format!(
                "{} (mapped at {:#x})",
                mapping.path.display(),
                mapping.range.start
            )
        });
        files.chain(mappings).collect()
    }

    /// Only what no library that is left can use, nor the program.
    fn close(&self, may_close: impl Fn(&Path, bool) -> bool) {
        for (number, path, is_drivers) in &self.files {
            if may_close(path, *is_drivers) {
                log::debug!("closing {}, left open by a driver", path.display());
                // SAFETY: the descriptor was opened by a driver that is unloaded, on a GPU's device node.
                unsafe { libc::close(*number) };
            }
        }
        for (mapping, is_drivers) in &self.mappings {
            if may_close(&mapping.path, *is_drivers) {
                let start = std::ptr::with_exposed_provenance_mut(mapping.range.start);
                // SAFETY: the mapping belongs to a driver that is unloaded; no code refers to it.
                unsafe { libc::munmap(start, mapping.range.len()) };
            }
        }
    }
}

/// Whether a driver has opened the node, or one of the family's that always go together.
fn is_drivers_node(loaded: &Loaded, path: &Path) -> bool {
    let is_familys = |path: &Path| path.to_string_lossy().starts_with(FAMILY_NODES);
    loaded.nodes.contains(path)
        || is_familys(path) && loaded.nodes.iter().any(|node| is_familys(node))
}
