//! Opening the vendors' libraries and asking them for their platforms (`cl_khr_icd`, 1.0 and 2.0).

use std::collections::BTreeSet;
use std::ffi::{CStr, OsString, c_char, c_void};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use opencl_sys::cl_int;

use super::relocations::Held;
use super::snapshot::{Mapping, Snapshot, is_device_node};
use super::{cuda, discover, heap, icd2, query, relocations, unload};

type GetExtension = unsafe extern "C" fn(*const c_char) -> *mut c_void;
type GetPlatforms = unsafe extern "C" fn(u32, *mut *mut c_void, *mut u32) -> cl_int;

/// One vendor's library, open.
pub(super) struct Vendor {
    pub(super) name: OsString,
    pub(super) library: Library,
    get_platforms: GetPlatforms,
    /// Of a driver that leaves dispatching to the loader.
    managed: Option<icd2::Managed>,
}

/// All that is loaded, and the process as it was before.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) before: Option<Snapshot>,
    pub(super) vendors: Vec<Vendor>,
    /// Device nodes that a driver has opened, now or before.
    pub(super) nodes: BTreeSet<PathBuf>,
    /// The descriptors and mappings of those nodes that drivers were seen to make. The program may have others.
    pub(super) files: BTreeSet<(i32, PathBuf)>,
    pub(super) mappings: Vec<Mapping>,
    /// Address space that drivers were seen to reserve.
    pub(super) reserved: Vec<Range<usize>>,
    /// A driver's could not be told from the program's: there was no descriptor to look with.
    pub(super) is_unsure: bool,
    /// A driver was seen to initialise CUDA's driver API: whether the program does cannot be told.
    initialises_cuda: bool,
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

    /// Has what a driver that forgets memory allocates from now on noted: [`unload::unload`] gives it back. Not where any library of
    /// its family was there before it: that one may be the program's.
    fn watch_heap(&self, family: &Held) {
        let Some(before) = &self.before else { return };
        if self.has_family_driver() && !unload::family().any(|stem| before.maps_library(stem)) {
            heap::watch(family, |name| unload::is_family_driver(name.as_ref()));
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

    /// Whether NVIDIA's OpenCL is loaded, and leaves CUDA to the program ([`super::cuda`]).
    pub(super) fn leaves_cuda_alone(&self) -> bool {
        !self.initialises_cuda && self.has_family_driver()
    }

    fn has_family_driver(&self) -> bool {
        let mut names = self.vendors.iter().map(|vendor| &vendor.name);
        names.any(|name| unload::is_family_driver(name))
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
    let had_cuda = cuda::is_in_use();
    let answer = call();
    // Before the lock: the linker may be running code that waits for it.
    let family = hold_family();
    let mut loaded = loaded();
    loaded.watch_heap(&family);
    loaded.learn(&earlier);
    loaded.initialises_cuda |= !had_cuda && cuda::is_in_use();
    drop(loaded);
    answer
}

fn hold_family() -> Held {
    relocations::hold(|name| unload::family().any(|stem| name.starts_with(stem)))
}

static LOADED: Mutex<Loaded> = Mutex::new(Loaded {
    before: None,
    vendors: Vec::new(),
    nodes: BTreeSet::new(),
    files: BTreeSet::new(),
    mappings: Vec::new(),
    reserved: Vec::new(),
    is_unsure: false,
    initialises_cuda: false,
});

pub(super) fn loaded() -> MutexGuard<'static, Loaded> {
    LOADED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    crate::fork::try_lock(&LOADED)
}

/// Opens every vendor's library that is not open yet, and returns the platforms of all, in the vendors' order.
/// A library that cannot be opened or has no platform is logged and left out, as ICD loaders do.
pub fn platforms() -> Vec<*mut c_void> {
    let mut loaded = loaded();
    let earlier = Snapshot::take();
    loaded.begin(&earlier);
    let mut opened = false;
    for name in discover::libraries() {
        if loaded.vendors.iter().any(|vendor| vendor.name == name) {
            continue;
        }
        match open(name.clone()) {
            Ok(vendor) => {
                loaded.vendors.push(vendor);
                opened = true;
            }
            Err(reason) => log::info!("OpenCL driver {}: {reason}", name.display()),
        }
    }
    loaded.watch_heap(&hold_family());
    let had_cuda = cuda::is_in_use();
    let platforms = loaded.vendors.iter().flat_map(Vendor::platforms).collect();
    // What the driver has opened itself meanwhile.
    loaded.watch_heap(&hold_family());
    loaded.initialises_cuda |= !had_cuda && cuda::is_in_use();
    loaded.learn(&earlier);
    if opened {
        crate::leaving::register();
    }
    platforms
}

fn open(name: OsString) -> Result<Vendor, String> {
    // SAFETY: opening a vendor's library runs its initialisers; that is what an ICD loader is for, and the names
    // come from the administrator's configuration or the user's own environment.
    let library = unsafe { Library::open(Some(&name), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| error.to_string())?;
    // SAFETY: `cl_khr_icd` gives this symbol this prototype.
    let get_extension = unsafe { library.get::<GetExtension>(b"clGetExtensionFunctionAddress\0") }
        .map_err(|error| error.to_string())?;
    // SAFETY: the argument is a C string; the answer is a function or null.
    let find = |name: &CStr| unsafe { get_extension(name.as_ptr()) };
    let address = find(c"clIcdGetPlatformIDsKHR");
    if address.is_null() {
        return Err("has no clIcdGetPlatformIDsKHR".to_owned());
    }
    // SAFETY: `cl_khr_icd` gives the function of that name this prototype; it lives as long as the library.
    let get_platforms = unsafe { std::mem::transmute::<*mut c_void, GetPlatforms>(address) };
    let managed = icd2::Managed::find(find);
    Ok(Vendor {
        name,
        library,
        get_platforms,
        managed,
    })
}

impl Vendor {
    fn platforms(&self) -> Vec<*mut c_void> {
        let mut count = 0;
        // SAFETY: asking for the count only; the library is open.
        let code = unsafe { (self.get_platforms)(0, std::ptr::null_mut(), &raw mut count) };
        if code != opencl_sys::CL_SUCCESS || count == 0 {
            log::info!(
                "OpenCL driver {} has no platform (error {code})",
                self.name.display()
            );
            return Vec::new();
        }
        let mut platforms = vec![std::ptr::null_mut(); count as usize];
        // SAFETY: `platforms` has room for `count` entries.
        let code =
            unsafe { (self.get_platforms)(count, platforms.as_mut_ptr(), std::ptr::null_mut()) };
        if code != opencl_sys::CL_SUCCESS {
            return Vec::new();
        }
        let mut number = 0;
        platforms.retain(|&platform| !platform.is_null() && self.adopt(platform, &mut number));
        platforms
    }

    fn adopt(&self, platform: *mut c_void, number: &mut usize) -> bool {
        *number += 1;
        let adopted = icd2::adopt(self.managed, &self.name, *number, platform);
        adopted
            .inspect_err(|reason| log::warn!("OpenCL driver {}: {reason}", self.name.display()))
            .is_ok()
    }
}

/// A platform's root devices of a type; empty if there are none.
pub fn devices(platform: *mut c_void, device_type: u64) -> Vec<*mut c_void> {
    let ask = |size: usize, value: *mut c_void, size_ret: *mut usize| {
        // This call counts entries, the queries' pattern counts bytes.
        let entries = u32::try_from(size / size_of::<*mut c_void>()).unwrap_or(u32::MAX);
        let mut count = 0;
        let answer = super::dispatch::status!(
            platform,
            clGetDeviceIDs(platform, device_type, entries, value.cast(), &raw mut count)
        );
        // SAFETY: `size_ret` is null or points to the query's own variable.
        if let Some(size_ret) = unsafe { size_ret.as_mut() } {
            *size_ret = count as usize * size_of::<*mut c_void>();
        }
        answer
    };
    // Some drivers open their devices only now.
    opening(|| query::handles(&ask)).unwrap_or_default()
}
