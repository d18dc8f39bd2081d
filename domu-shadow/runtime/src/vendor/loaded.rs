//! What is loaded of vendors' libraries, and what they were seen to open.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use channel::BoxError;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::paths::library_stem;
use super::relocations::{self, Held};
use super::snapshot::{Mapping, Snapshot, is_device_node};
use super::{cuda, family, fronts, heap};
use crate::{locks, process_exit};

/// One vendor's library, open.
pub struct Vendor {
    pub name: OsString,
    pub library: Library,
}

/// All that is loaded, and the process as it was before.
#[derive(Default)]
pub struct Loaded {
    pub(super) before: Option<Snapshot>,
    pub(super) vendors: Vec<Vendor>,
    /// Libraries that they were bound to by hand ([`fronts::mend`]): closed after them.
    pub(super) bound: Vec<Library>,
    /// Device nodes that a driver has opened, now or before.
    pub(super) nodes: BTreeSet<PathBuf>,
    /// The descriptors and mappings of those nodes that drivers were seen to make. The program may have others.
    pub(super) files: BTreeSet<(i32, PathBuf)>,
    pub(super) mappings: Vec<Mapping>,
    /// Address space that drivers were seen to reserve.
    pub(super) reserved: Vec<Range<usize>>,
    /// A driver's could not be told from the program's: there was no descriptor to look with.
    pub(super) is_unsure: bool,
}

/// Bytes from which on reserved address space is taken for a driver's: NVIDIA's takes 4 GiB, allocators and language runtimes,
/// which may do so in another thread meanwhile, some MiB.
const RESERVATION: usize = 1 << 30;

impl Loaded {
    /// The process as it is now, before a driver is loaded.
    fn begin(&mut self, now: &Snapshot) {
        let is_of_use = |before: &Snapshot| before.is_whole || !self.vendors.is_empty();
        if !self.before.as_ref().is_some_and(is_of_use) {
            self.before = Some(now.clone());
        }
        self.is_unsure &= !now.is_whole || now.devices().next().is_some();
    }

    /// Notes device nodes that a driver has opened since, and address space that it has reserved.
    fn learn(&mut self, earlier: &Snapshot) {
        let now = Snapshot::take();
        if !(earlier.is_whole && now.is_whole) {
            self.is_unsure = true;
            return;
        }
        self.forget_closed(earlier);
        for (&number, path) in &now.files {
            if is_device_node(path) && earlier.files.get(&number) != Some(path) {
                self.nodes.insert(path.clone());
                self.files.insert((number, path.clone()));
            }
        }
        for mapping in &now.mappings {
            if is_device_node(&mapping.path) && !earlier.mappings.contains(mapping) {
                self.nodes.insert(mapping.path.clone());
                self.mappings.push(mapping.clone());
            }
        }
        let is_new = |range: &Range<usize>| {
            let apart = |old: &Range<usize>| old.end <= range.start || range.end <= old.start;
            range.len() >= RESERVATION && earlier.reserved.iter().all(apart)
        };
        let reserved = now.reserved.iter().filter(|range| is_new(range));
        self.reserved.extend(reserved.cloned());
    }

    /// Has what a driver that forgets memory allocates from now on noted: [`super::unload::unload`] gives it back. Not where any library of
    /// its family was there before it: that one may be the program's.
    fn watch_heap(&self, family: &Held) {
        let Some(before) = &self.before else { return };
        if self.has_family_driver() && !family::stems().any(|stem| before.maps_library(stem)) {
            heap::watch(family, |name| family::is_driver(name.as_ref()));
        }
    }

    /// Whether a driver may have opened a device unseen, or the program before it.
    pub(super) fn is_unsure(&mut self, now: &Snapshot) -> bool {
        let knows_before = self.before.as_ref().is_some_and(|before| before.is_whole);
        let nodes = &self.nodes;
        self.is_unsure &= now
            .devices()
            .any(|path| !knows_before || !nodes.contains(path));
        self.is_unsure
    }

    /// What the file names of all drivers' libraries start with.
    fn stems(&self) -> Vec<String> {
        let names = self.vendors.iter().map(|vendor| &*vendor.name);
        names.map(library_stem).collect()
    }

    /// Whether NVIDIA's OpenCL is loaded.
    pub(super) fn has_family_driver(&self) -> bool {
        let mut names = self.vendors.iter().map(|vendor| &vendor.name);
        names.any(|name| family::is_driver(name))
    }

    /// Drops what a driver has closed itself.
    pub(super) fn forget_closed(&mut self, now: &Snapshot) {
        self.files
            .retain(|(number, path)| now.files.get(number) == Some(path));
        self.mappings
            .retain(|mapping| now.mappings.contains(mapping));
    }
}

/// Makes a call in which drivers open their devices: what appears meanwhile is theirs.
pub fn opening<T>(call: impl FnOnce() -> T) -> T {
    let earlier = Snapshot::take();
    let watch = cuda::Watch::begin();
    let answer = call();
    drop(watch);
    // Before the lock: the linker may be running code that waits for it.
    let stems = loaded().stems();
    let bound = mend(&stems);
    let family = hold_family();
    let mut loaded = loaded();
    loaded.bound.extend(bound);
    loaded.watch_heap(&family);
    loaded.learn(&earlier);
    drop(loaded);
    answer
}

/// Has all libraries of drivers that are mapped open those of vendors by name, and call those, and none of ours. Those that they call
/// now.
fn mend(stems: &[String]) -> Vec<Library> {
    // `libpocl.so` brings `libpocl-devices-cuda.so`.
    let starts = |stem: &String, name: &str| name.starts_with(stem.trim_end_matches(".so"));
    fronts::mend(|name| {
        let is_drivers = stems.iter().any(|stem| starts(stem, name));
        is_drivers || family::stems().any(|stem| name.starts_with(stem))
    })
}

fn hold_family() -> Held {
    relocations::hold(|name| family::stems().any(|stem| name.starts_with(stem)))
}

/// Opens those of the named libraries that are not open and that `accept` takes, and makes a call with all that are open, in which
/// drivers may open their devices. A library that cannot be opened, or is not taken, is logged and left out.
pub fn load<T, E: Error + Send + Sync + 'static>(
    names: impl IntoIterator<Item = OsString>,
    accept: impl Fn(&Library) -> Result<(), E>,
    call: impl FnOnce(&[Vendor]) -> T,
) -> T {
    let mut loaded = loaded();
    let earlier = Snapshot::take();
    loaded.begin(&earlier);
    let mut opened = false;
    for name in names {
        if loaded.vendors.iter().any(|vendor| vendor.name == name) {
            continue;
        }
        // SAFETY: opening a vendor's library runs its initialisers; that is what a loader is for, and the names
        // come from the administrator's configuration or the user's own environment.
        let library = unsafe { Library::open(Some(&name), RTLD_NOW | RTLD_LOCAL) };
        loaded.bound.extend(mend(&[library_stem(&name)]));
        let accepted = |library| Ok(accept(&library).map(|()| library)?);
        match library.map_err(BoxError::from).and_then(accepted) {
            Ok(library) => {
                loaded.vendors.push(Vendor { name, library });
                opened = true;
            }
            Err(reason) => log::info!("driver {}: {reason}", name.display()),
        }
    }
    loaded.watch_heap(&hold_family());
    let watch = cuda::Watch::begin();
    let answer = call(&loaded.vendors);
    drop(watch);
    let bound = mend(&loaded.stems());
    loaded.bound.extend(bound);
    // What the driver has opened itself meanwhile.
    loaded.watch_heap(&hold_family());
    loaded.learn(&earlier);
    if opened {
        process_exit::register();
    }
    answer
}

static LOADED: Mutex<Loaded> = Mutex::new(Loaded {
    before: None,
    vendors: Vec::new(),
    bound: Vec::new(),
    nodes: BTreeSet::new(),
    files: BTreeSet::new(),
    mappings: Vec::new(),
    reserved: Vec::new(),
    is_unsure: false,
});

pub(super) fn loaded() -> MutexGuard<'static, Loaded> {
    LOADED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    locks::try_lock(&LOADED)
}
