//! The program's handles: addresses of cells.
//!
//! A handle is checked by range, by alignment and by the kind in its cell. NULL, garbage, a freed handle or one of
//! another kind gets the specification's error and never crashes. No other module turns a handle into a reference.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use opencl_sys::{CL_FALSE, cl_bool, cl_int};

use super::caller::Caller;
use super::cells::{self, Cell};
use crate::CLResult;

/// What a cell holds; the values are unlikely in memory that is not a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    Platform = 0x7067_7001,
    Device,
    Context,
    Queue,
    Mem,
    Program,
    Kernel,
    Event,
    Sampler,
    CommandBuffer,
    Semaphore,
}

/// A shadow object that a handle can stand for.
pub trait Object: Send + Sync + Sized + 'static {
    const KIND: Kind;
    /// The specification's error for a handle that is not one of this kind.
    const INVALID: cl_int;
    fn slot(&self) -> &Slot<Self>;
}

/// Makes a type with a field `slot` an [`Object`], by its error for other handles: `object!(Queue, CL_INVALID_COMMAND_QUEUE)`.
macro_rules! object {
    ($name:ident, $invalid:ident) => {
        impl $crate::core::handle::Object for $name {
            const KIND: $crate::core::handle::Kind = $crate::core::handle::Kind::$name;
            const INVALID: opencl_sys::cl_int = $invalid;
            fn slot(&self) -> &$crate::core::handle::Slot<Self> {
                &self.slot
            }
        }
    };
}

pub(crate) use object;

/// The live cell that `handle` names, if it is one of kind `T`. O(1), no lock.
#[inline]
fn find<T: Object>(handle: *mut c_void) -> Option<&'static Cell> {
    let cell = cells::at(handle)?;
    (cell.kind.load(Ordering::Acquire) == T::KIND as u32).then_some(cell)
}

/// A cell reserved by its object; freed when the object is dropped.
pub struct Slot<T: Object> {
    cell: &'static Cell,
    id: u64,
    _object: PhantomData<fn(T)>,
}

impl<T: Object> Slot<T> {
    /// Takes a free cell; it stays invalid until [`publish`].
    pub fn reserve() -> Self {
        let (cell, id) = cells::reserve();
        Slot {
            cell,
            id,
            _object: PhantomData,
        }
    }

    /// What the program gets.
    pub fn handle(&self) -> *mut c_void {
        std::ptr::from_ref(self.cell).cast_mut().cast()
    }

    /// Unique in this process, never used again; the object's name in a capture.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// References that the program holds.
    pub fn references(&self) -> u32 {
        self.cell.references.load(Ordering::Relaxed)
    }
}

impl<T: Object> Drop for Slot<T> {
    fn drop(&mut self) {
        let weak = cells::free(self.cell);
        if !weak.is_null() {
            // SAFETY: `publish` stored a pointer from `Weak::<T>::into_raw`, and nobody finds it any more.
            drop(unsafe { Weak::from_raw(weak.cast::<T>()) });
        }
    }
}

/// Makes the object's handle valid, with one reference that the program holds.
pub fn publish<T: Object>(object: Arc<T>) -> *mut c_void {
    let cell = object.slot().cell;
    let handle = object.slot().handle();
    cell.dispatch.store(cells::dispatch(), Ordering::Relaxed);
    cell.references.store(1, Ordering::Relaxed);
    cell.object.store(
        Weak::into_raw(Arc::downgrade(&object)).cast_mut().cast(),
        Ordering::Relaxed,
    );
    cell.kind.store(T::KIND as u32, Ordering::Release);
    // The program's references are one strong reference together; `release` takes it back.
    std::mem::forget(object);
    handle
}

fn upgrade<T: Object>(cell: &Cell) -> Option<Arc<T>> {
    let pointer = cell.object.load(Ordering::Acquire);
    if pointer.is_null() {
        return None;
    }
    // SAFETY: a non-null pointer comes from `Weak::<T>::into_raw` (the cell's kind was checked against `T`), whose
    // count the cell still owns; `ManuallyDrop` leaves it there.
    ManuallyDrop::new(unsafe { Weak::from_raw(pointer.cast_const().cast::<T>()) }).upgrade()
}

/// The object behind a handle, for a call that neither waits nor wakes. The program keeps its own reference until the call
/// returns, since nothing else tells it that the call has taken effect.
///
/// A callback, another thread that was woken, or contents that have arrived may tell the program earlier. It may then release the
/// object before the call returns: [`share`] or [`lend`] it there.
#[inline]
pub fn borrow<T: Object>(_caller: &Caller, handle: *mut c_void) -> CLResult<&T> {
    let cell = find::<T>(handle).ok_or(T::INVALID)?;
    let pointer = cell.object.load(Ordering::Acquire).cast_const().cast::<T>();
    // SAFETY: the cell is published, so the pointer is that of a live `T` inside an `Arc`, and the program holds a
    // reference (or a child that does) until the call returns; null only in a race with a release, which is checked.
    unsafe { pointer.as_ref() }.ok_or(T::INVALID)
}

/// An object of a call that may block: [`lend`].
pub struct Lent<'a, T> {
    object: &'a T,
    blocking: cl_bool,
    /// While the call blocks.
    _kept: Option<Arc<T>>,
}

impl<T> Lent<'_, T> {
    /// The call's `blocking_read` or the like.
    pub fn blocking(&self) -> cl_bool {
        self.blocking
    }
}

impl<T> Deref for Lent<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        self.object
    }
}

/// The object behind a handle, for a call that blocks if `blocking` says so. A blocking call keeps the object alive: the program
/// may see what the command does before the call returns. Otherwise the object is only borrowed.
#[inline]
pub fn lend<T: Object>(
    caller: &Caller,
    handle: *mut c_void,
    blocking: cl_bool,
) -> CLResult<Lent<'_, T>> {
    let object = borrow::<T>(caller, handle)?;
    let _kept = (blocking != CL_FALSE).then(|| shared(object));
    Ok(Lent {
        object,
        blocking,
        _kept,
    })
}

/// The object behind a handle, kept alive beyond the call.
pub fn share<T: Object>(handle: *mut c_void) -> CLResult<Arc<T>> {
    find::<T>(handle).and_then(upgrade).ok_or(T::INVALID)
}

/// Another owner of an object that is only borrowed.
pub fn shared<T: Object>(object: &T) -> Arc<T> {
    upgrade(object.slot().cell).expect("a borrowed object is published and alive")
}

/// The live object whose handle is `handle`, if its id is still `id`: not a later one in the same cell.
#[inline]
pub fn share_if_same<T: Object>(handle: *mut c_void, id: u64) -> Option<Arc<T>> {
    let cell = find::<T>(handle).filter(|cell| cell.id.load(Ordering::Relaxed) == id)?;
    upgrade::<T>(cell).filter(|object| object.slot().id == id)
}

/// `clRetain…`.
pub fn retain<T: Object>(handle: *mut c_void) -> CLResult<()> {
    let cell = find::<T>(handle).ok_or(T::INVALID)?;
    let alive = upgrade::<T>(cell).ok_or(T::INVALID)?;
    if cell.references.fetch_add(1, Ordering::AcqRel) == 0 {
        // A parent that the program had released and got back from an info query.
        std::mem::forget(alive);
    }
    Ok(())
}

/// `clRelease…`.
pub fn release<T: Object>(handle: *mut c_void) -> CLResult<()> {
    let cell = find::<T>(handle).ok_or(T::INVALID)?;
    let before = cell
        .references
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            count.checked_sub(1)
        })
        .map_err(|_| T::INVALID)?;
    if before == 1 {
        let object = cell.object.load(Ordering::Acquire).cast_const().cast::<T>();
        // SAFETY: the count going from 1 to 0 gives back the one strong reference that `publish` or `retain` forgot; until then
        // it kept the object, and with it the pointer in its cell.
        drop(unsafe { Arc::from_raw(object) });
    }
    Ok(())
}

/// Every object of a kind; `None` for one that is being dropped.
fn of_kind<T: Object>() -> Vec<Option<Arc<T>>> {
    // No cell is freed meanwhile, so every weak pointer read here is still owned by its cell.
    cells::filter_map(|cell| {
        (cell.kind.load(Ordering::Acquire) == T::KIND as u32).then(|| upgrade::<T>(cell))
    })
}

/// How many objects of a kind are being dropped: no longer among [`all`], and not gone yet.
pub fn leaving<T: Object>() -> usize {
    of_kind::<T>().iter().filter(|one| one.is_none()).count()
}

/// Every live object of a kind, oldest first.
pub fn all<T: Object>() -> Vec<Arc<T>> {
    let mut found: Vec<Arc<T>> = of_kind().into_iter().flatten().collect();
    found.sort_by_key(|object| object.slot().id);
    found
}
