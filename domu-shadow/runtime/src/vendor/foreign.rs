//! Who else uses the GPU: this process by other means than the drivers loaded here, and other processes.
//!
//! What counts as the GPU are the device nodes that those drivers have opened. A node that something else holds cannot
//! be freed by unloading the drivers. What opens one later, beside a driver that has it open too, is told from that driver by
//! its descriptors where drivers open theirs at known moments ([`loaded::opening`]). NVIDIA's does not: there CUDA is asked
//! ([`cuda`]), others are found by name where they are known, else when the driver is unloaded. What goes through a library of ours is
//! no other means.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cuda;
use super::family::FAMILY_NODES;
use super::fronts;
use super::loaded;
use super::snapshot::{Snapshot, UNREAD, is_short};
use crate::gpu_api;

const CUDA: &str = "libcuda.so";
const CUDA_RUNTIME: &str = "libcudart.so";
const NVML: &str = "libnvidia-ml.so";

/// Libraries that use a GPU by other means, by the start of the paths of its nodes.
const LIBRARIES: [(&str, &str, &str); 8] = [
    ("/dev/nvidia", CUDA_RUNTIME, "CUDA"),
    ("/dev/nvidia", NVML, "NVML"),
    ("/dev/nvidia", "libGLX_nvidia.so", "Vulkan or OpenGL"),
    ("/dev/nvidia", "libEGL_nvidia.so", "Vulkan or EGL"),
    ("/dev/nvidia", "libnvcuvid.so", "video decoding"),
    ("/dev/nvidia", "libnvidia-encode.so", "video encoding"),
    ("/dev/kfd", "libamdhip64.so", "HIP"),
    ("/dev/dri/", "libvulkan_", "Vulkan"),
];

/// Libraries that a driver brings along, and a program may have had before.
const SHARED: [(&str, &str, &str); 2] = [
    ("/dev/nvidia", CUDA, "CUDA"),
    ("/dev/kfd", "libhsa-runtime64.so", "ROCm"),
];

/// Name of the session's thread: a process that has one speaks for itself.
pub const SESSION_THREAD: &str = "xl-gpu";

/// Other processes with the GPU open are named up to here.
const NAMED: usize = 16;

/// Least time between two looks at this process.
const PACE: Duration = Duration::from_secs(2);
/// A look may cost this much of the time between two.
const SHARE: u32 = 500;

struct Look {
    at: Instant,
    cost: Duration,
    reason: Option<String>,
}

static LAST: Mutex<Option<Look>> = Mutex::new(None);

/// Why the GPU cannot be freed of this process, as of a moment ago.
pub fn reason() -> Option<String> {
    // Asked each time: it is a matter of microseconds. Without the lock: the linker may be running code that waits for it.
    let has_opencl = loaded::loaded().has_family_driver();
    if cuda::is_used_past_front(has_opencl) {
        return Some(by_other_means(&cuda::name()));
    }
    if has_opencl && cuda::is_open() && !cuda::is_through_front() {
        return Some(IDLE.to_owned());
    }
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(look) = &*last
        && look.at.elapsed() < PACE.max(look.cost * SHARE)
    {
        return look.reason.clone();
    }
    let at = Instant::now();
    let reason = in_this_process();
    *last = Some(Look {
        at,
        cost: at.elapsed(),
        reason: reason.clone(),
    });
    reason
}

/// The next [`reason`] looks anew.
pub fn look_again() {
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// The library stays, with what NVIDIA's OpenCL has opened in it, and without CUDA there is no checkpoint that takes it away.
const IDLE: &str = "the program has opened CUDA's library beside NVIDIA's OpenCL and does not use it: it would keep the GPU";

fn in_this_process() -> Option<String> {
    let has_cuda = cuda::is_through_front();
    let (before, mut nodes, own) = {
        let loaded = loaded::loaded();
        if loaded.nodes.is_empty() && !loaded.is_unsure && !has_cuda {
            return None;
        }
        let before = loaded.before.clone();
        (before, loaded.nodes.clone(), loaded.files.clone())
    };
    let now = Snapshot::take();
    if !now.is_whole {
        return Some(UNREAD.to_owned());
    }
    if loaded::loaded().is_unsure(&now) {
        return Some(UNSURE.to_owned());
    }
    let mut holders = BTreeSet::new();
    if let Some(before) = &before {
        holders.extend(held_before(&now, before, &nodes));
        holders.extend(opened_beside(&now, before, &nodes, &own));
        holders.extend(shared(before, &nodes));
    }
    if has_cuda {
        nodes.extend(cuda::nodes(&now));
    }
    holders.extend(by_name(&now, &nodes, has_cuda));
    let others = cuda::others(&now).into_iter();
    holders.extend(others.map(|path| format!("CUDA ({})", path.display())));
    let holders: Vec<String> = holders.into_iter().collect();
    (!holders.is_empty()).then(|| by_other_means(&holders.join(", ")))
}

const UNSURE: &str =
    "which of the GPU's files are its driver's could not be read: it had too many open then";

fn by_other_means(which: &str) -> String {
    let ours = gpu_api::names();
    format!("the program also uses the GPU by other means than {ours}: {which}")
}

/// Nodes that were open or mapped before a driver was loaded, and still are.
fn held_before(now: &Snapshot, before: &Snapshot, nodes: &BTreeSet<PathBuf>) -> Vec<String> {
    let files = before
        .files
        .iter()
        .filter(|(number, path)| nodes.contains(*path) && now.files.get(number) == Some(path))
        .map(|(number, path)| {
            format!("{} (file descriptor {number}, open before)", path.display())
        });
    let mapped = before
        .mappings
        .iter()
        .filter(|m| nodes.contains(&m.path) && now.mappings.contains(m))
        .map(|m| format!("{} (mapped before)", m.path.display()));
    files.chain(mapped).collect()
}

/// Descriptors of the drivers' nodes that came later, and not from a driver.
fn opened_beside(
    now: &Snapshot,
    before: &Snapshot,
    nodes: &BTreeSet<PathBuf>,
    own: &BTreeSet<(i32, PathBuf)>,
) -> Vec<String> {
    let is_other = |&(&number, path): &(&i32, &PathBuf)| {
        nodes.contains(path)
            && !path.to_string_lossy().starts_with(FAMILY_NODES)
            && before.files.get(&number) != Some(path)
            && !own.contains(&(number, path.clone()))
    };
    let others = now.files.iter().filter(is_other);
    others
        .map(|(number, path)| format!("{} (file descriptor {number})", path.display()))
        .collect()
}

/// Libraries known to use such a GPU.
fn by_name(now: &Snapshot, nodes: &BTreeSet<PathBuf>, has_cuda: bool) -> Vec<String> {
    let has_front = fronts::stands_before(c"libcuda.so.1");
    // What opens the driver's library finds ours, or is seen another way.
    let is_fine = |stem: &str| match stem {
        CUDA_RUNTIME => has_front && cuda::is_told_apart(),
        // The driver's own checkpoint closes its descriptors, too (580.159).
        NVML => has_cuda,
        _ => false,
    };
    let all = LIBRARIES.iter().filter(|(_, stem, _)| !is_fine(stem));
    named(all, nodes, now)
}

/// Libraries that a driver brings along, and that were there before it.
fn shared(before: &Snapshot, nodes: &BTreeSet<PathBuf>) -> Vec<String> {
    // Where ours stands before CUDA's, what matters is whether somebody uses it another way.
    let is_fine = |stem: &str| stem == CUDA && fronts::stands_before(c"libcuda.so.1");
    let all = SHARED.iter().filter(|(_, stem, _)| !is_fine(stem));
    named(all, nodes, before)
}

fn named<'l>(
    libraries: impl Iterator<Item = &'l (&'l str, &'l str, &'l str)>,
    nodes: &BTreeSet<PathBuf>,
    mapped: &Snapshot,
) -> Vec<String> {
    let has = |start: &str| {
        let starts = |path: &PathBuf| path.to_str().is_some_and(|p| p.starts_with(start));
        nodes.iter().any(starts)
    };
    let there = libraries.filter(|(start, stem, _)| has(start) && mapped.maps_library(stem));
    there
        .map(|(_, stem, what)| format!("{what} ({stem})"))
        .collect()
}

/// Whether a driver has a GPU's device nodes open in this process.
pub fn holds_nodes() -> bool {
    !loaded::loaded().nodes.is_empty()
        || cuda::is_through_front() && !cuda::nodes(&Snapshot::take()).is_empty()
}

/// Other processes that hold the GPU and have no session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// Program, process id and node of each.
    pub holders: Vec<String>,
    /// Processes that may not be looked at from here.
    pub unseen: u32,
}

/// Looks through `/proc`, as far as this process may.
pub fn other_processes() -> Others {
    let mut nodes = loaded::loaded().nodes.clone();
    if cuda::is_through_front() {
        nodes.extend(cuda::nodes(&Snapshot::take()));
    }
    match nodes.is_empty() {
        true => Others::default(),
        false => others(&nodes),
    }
}

fn others(nodes: &BTreeSet<PathBuf>) -> Others {
    let mut found = Others::default();
    let own = std::process::id().to_string();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name
            .to_str()
            .filter(|n| n.bytes().all(|b| b.is_ascii_digit()))
        else {
            continue;
        };
        let process = entry.path();
        if pid == own || has_session(&process) {
            continue;
        }
        match held_by(&process, nodes) {
            Ok(None) => {}
            Ok(Some(node)) if found.holders.len() < NAMED => {
                let program = fs::read_to_string(process.join("comm")).unwrap_or_default();
                let node = node.display();
                found
                    .holders
                    .push(format!("{} (pid {pid}) holds {node}", program.trim_end()));
            }
            Ok(Some(_)) => {}
            Err(e) if e.kind() == ErrorKind::PermissionDenied && has_memory(&process) => {
                found.unseen += 1;
            }
            Err(e) if is_short(&e) => found.unseen += 1,
            // It has ended, or is one of the kernel's.
            Err(_) => {}
        }
    }
    found
}

fn has_session(process: &Path) -> bool {
    let tasks = fs::read_dir(process.join("task")).into_iter().flatten();
    tasks.flatten().any(|task| {
        let name = fs::read_to_string(task.path().join("comm"));
        name.is_ok_and(|name| name.trim_end() == SESSION_THREAD)
    })
}

/// Kernel threads and zombies have none; everybody may see that.
fn has_memory(process: &Path) -> bool {
    fs::read(process.join("cmdline")).is_ok_and(|line| !line.is_empty())
}

fn held_by(process: &Path, nodes: &BTreeSet<PathBuf>) -> std::io::Result<Option<PathBuf>> {
    for file in fs::read_dir(process.join("fd"))?.flatten() {
        if let Ok(path) = fs::read_link(file.path())
            && nodes.contains(&path)
        {
            return Ok(Some(path));
        }
    }
    let mapped = super::snapshot::mappings_of(&process.join("maps"))?;
    Ok(mapped
        .into_iter()
        .map(|m| m.path)
        .find(|path| nodes.contains(path)))
}
