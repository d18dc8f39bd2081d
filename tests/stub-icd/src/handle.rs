//! Handles: every object the caller can name, whether it still may, and how often it holds it.
//!
//! A handle is the address of a header that starts with the dispatch table (`cl_khr_icd`). An object lives as long
//! as the caller holds references *or* another object needs it, as OpenCL defines lifetimes; its handle is good that
//! long. Headers of dead objects are kept aside for a while, so that a use after release is told apart from garbage and
//! does not hit a younger object by chance.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use opencl_sys::cl_icd::cl_icd_dispatch;
use opencl_sys::cl_int;

use crate::dispatch;
use crate::ffi::CLResult;
use crate::lock::lock;
use crate::report::violation;

/// Dead headers that are kept before the oldest is freed.
const QUARANTINE: usize = 1 << 16;

/// What stands at a handle's address.
#[repr(C)]
struct Header {
    dispatch: &'static cl_icd_dispatch,
    /// The loader's, of `cl_khr_icd` 2.0.
    dispatch_data: AtomicUsize,
    serial: u64,
}

/// A type of objects.
pub trait Object: Any + Send + Sync {
    /// As in `cl_mem`.
    const KIND: &'static str;
    /// What a call answers for a handle that is none of this kind.
    const INVALID: cl_int;
}

type Shared = Arc<dyn Any + Send + Sync>;

enum State {
    /// Held `references` times by the caller, and then also by `held`.
    Live {
        references: u32,
        held: Option<Shared>,
        object: Weak<dyn Any + Send + Sync>,
    },
    Dead,
}

struct Entry {
    header: Box<Header>,
    kind: &'static str,
    state: State,
}

struct Registry {
    entries: BTreeMap<usize, Entry>,
    dead: VecDeque<usize>,
    serial: u64,
    /// What every object gets, once the loader has set it.
    dispatch_data: usize,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    entries: BTreeMap::new(),
    dead: VecDeque::new(),
    serial: 0,
    dispatch_data: 0,
});

/// An object's own handle; when the object goes, the handle is dead.
pub struct Slot(usize);

impl Slot {
    /// The handle.
    pub fn handle(&self) -> *mut c_void {
        std::ptr::with_exposed_provenance_mut(self.0)
    }

    /// How often the caller holds the object.
    pub fn references(&self) -> u32 {
        match lock(&REGISTRY)
            .entries
            .get(&self.0)
            .map(|entry| &entry.state)
        {
            Some(State::Live { references, .. }) => *references,
            _ => 0,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut guard = lock(&REGISTRY);
        let registry = &mut *guard;
        if let Some(entry) = registry.entries.get_mut(&self.0) {
            entry.state = State::Dead;
            registry.dead.push_back(self.0);
        }
        if registry.dead.len() > QUARANTINE {
            let oldest = registry.dead.pop_front();
            oldest.and_then(|address| registry.entries.remove(&address));
        }
    }
}

/// Makes an object with a handle, of which the caller holds `references`.
pub fn publish<T: Object>(references: u32, make: impl FnOnce(Slot) -> T) -> Arc<T> {
    let address = {
        let mut registry = lock(&REGISTRY);
        registry.serial += 1;
        let header = Box::new(Header {
            dispatch: dispatch::of_handles(),
            dispatch_data: AtomicUsize::new(registry.dispatch_data),
            serial: registry.serial,
        });
        let address = (&raw const *header).expose_provenance();
        registry.entries.insert(
            address,
            Entry {
                header,
                kind: T::KIND,
                state: State::Dead,
            },
        );
        address
    };
    let object = Arc::new(make(Slot(address)));
    let shared: Shared = object.clone();
    let object_ref = Arc::downgrade(&shared);
    let held = (references > 0).then_some(shared);
    if let Some(entry) = lock(&REGISTRY).entries.get_mut(&address) {
        entry.state = State::Live {
            references,
            held,
            object: object_ref,
        };
    }
    object
}

/// `clIcdSetPlatformDispatchDataKHR`: "the vendor driver is responsible for propagating the `dispatch_data` value".
pub fn set_dispatch_data(data: *mut c_void) {
    let mut registry = lock(&REGISTRY);
    registry.dispatch_data = data.expose_provenance();
    for entry in registry.entries.values() {
        let data = registry.dispatch_data;
        entry.header.dispatch_data.store(data, Ordering::Relaxed);
    }
}

/// The object of a handle; what is wrong with the handle is recorded, but for null.
pub fn get<T: Object>(handle: *mut c_void) -> CLResult<Arc<T>> {
    find(handle).map_err(|reason| {
        if let Some(reason) = reason {
            violation(reason);
        }
        T::INVALID
    })
}

fn find<T: Object>(handle: *mut c_void) -> Result<Arc<T>, Option<String>> {
    if handle.is_null() {
        return Err(None);
    }
    let registry = lock(&REGISTRY);
    let Some(entry) = registry.entries.get(&handle.addr()) else {
        return Err(Some(format!(
            "{handle:p} is no handle of this driver, wanted a {}",
            T::KIND
        )));
    };
    if entry.kind != T::KIND {
        return Err(Some(format!(
            "{handle:p} is a {}, wanted a {}",
            entry.kind,
            T::KIND
        )));
    }
    let object = match &entry.state {
        State::Live { object, .. } => object.upgrade(),
        State::Dead => None,
    };
    let released = || {
        Some(format!(
            "{} {handle:p} (number {}) used after release",
            T::KIND,
            entry.header.serial
        ))
    };
    let object = object.ok_or_else(released)?;
    // The kind is the type's own, so this cannot fail.
    object.downcast().map_err(|_| None)
}

/// Several objects, all of them or the first error.
pub fn get_all<T: Object>(handles: &[*mut c_void]) -> CLResult<Vec<Arc<T>>> {
    handles.iter().map(|&handle| get(handle)).collect()
}

/// `clRetain…`.
pub fn retain<T: Object>(handle: *mut c_void) -> CLResult<()> {
    let object = get::<T>(handle)?;
    if let Some(entry) = lock(&REGISTRY).entries.get_mut(&handle.addr())
        && let State::Live {
            references, held, ..
        } = &mut entry.state
    {
        *references += 1;
        *held = Some(object);
    }
    Ok(())
}

/// `clRelease…`. A release without a reference is a violation, also while another object keeps this one alive.
pub fn release<T: Object>(handle: *mut c_void) -> CLResult<()> {
    let object = get::<T>(handle)?;
    let last = match lock(&REGISTRY).entries.get_mut(&handle.addr()) {
        Some(Entry {
            state: State::Live {
                references, held, ..
            },
            ..
        }) if *references > 0 => {
            *references -= 1;
            Ok(if *references == 0 { held.take() } else { None })
        }
        _ => Err(T::INVALID),
    };
    // Outside the lock: the last reference's end may take it again.
    let last = last.inspect_err(|_| {
        violation(format!(
            "{} {handle:p} released more often than retained",
            T::KIND
        ))
    })?;
    drop(object);
    drop(last);
    Ok(())
}

/// Objects that the caller holds, by kind, without the platform and its devices.
pub fn held() -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for entry in lock(&REGISTRY).entries.values() {
        let permanent = matches!(entry.kind, "cl_platform_id" | "cl_device_id");
        if !permanent && matches!(entry.state, State::Live { references, .. } if references > 0) {
            *counts.entry(entry.kind).or_default() += 1;
        }
    }
    counts
}

/// Frees everything, at unload.
pub fn clear() {
    let mut registry = lock(&REGISTRY);
    let gone = (
        std::mem::take(&mut registry.entries),
        std::mem::take(&mut registry.dead),
    );
    // Without the lock: an object's end takes it.
    drop(registry);
    drop(gone);
}
