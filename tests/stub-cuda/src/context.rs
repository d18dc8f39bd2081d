//! Contexts, which of them is current on each thread, and the order between their streams.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_uint;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use crate::abi::*;
use crate::array;
use crate::call::Default;
use crate::capture;
use crate::device;
use crate::event;
use crate::fence::{Fault, Fence};
use crate::lock::lock;
use crate::memory::ordinary;
use crate::memory::space::{self, Kind, Mapping};
use crate::module;
use crate::node;
use crate::stream::{self, STREAMS, Stream};
use crate::table::{self, Table};
use crate::work::Work;

pub struct Context {
    pub handle: Handle,
    /// No other context has it, not even the next one of this handle.
    pub id: u64,
    pub device: usize,
    pub flags: Mutex<c_uint>,
    pub is_primary: bool,
    pub fault: Arc<Fault>,
    pub limits: Mutex<BTreeMap<c_uint, usize>>,
    /// Devices whose memory it may touch.
    pub peers: Mutex<BTreeSet<Handle>>,
    legacy: Arc<Stream>,
    per_thread: Mutex<BTreeMap<u64, (ThreadId, Arc<Stream>)>>,
    /// Held while work is given, so that what waits for what is one order.
    order: Mutex<()>,
}

pub static CONTEXTS: Table<Context> = Table::new();

thread_local! {
    /// Never dropped: programs call from exit handlers, too, which run later than a thread's destructors.
    static STACK: RefCell<ManuallyDrop<Vec<Handle>>> = const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

impl Context {
    /// A new context, under a handle that may have been one's before.
    ///
    /// # Errors
    /// `CUDA_ERROR_NO_DEVICE` where the device's node cannot be opened.
    pub fn create(
        handle: Handle,
        device: usize,
        flags: c_uint,
        is_primary: bool,
    ) -> Outcome<Arc<Context>> {
        let fault = Arc::new(Fault::default());
        let legacy = Stream::new(CU_STREAM_LEGACY, (handle, device), fault.clone(), 0, 0);
        static LAST: AtomicU64 = AtomicU64::new(0);
        let context = Arc::new(Context {
            handle,
            id: LAST.fetch_add(1, Ordering::Relaxed) + 1,
            device,
            flags: Mutex::new(flags),
            is_primary,
            fault,
            limits: Mutex::default(),
            peers: Mutex::default(),
            legacy,
            per_thread: Mutex::default(),
            order: Mutex::new(()),
        });
        CONTEXTS.insert(handle, context.clone());
        if let Err(code) = open_nodes() {
            CONTEXTS.remove(handle);
            return Err(code);
        }
        Ok(context)
    }

    /// Ends it, with what it owns.
    pub fn destroy(&self) {
        let _ = self.synchronize();
        CONTEXTS.remove(self.handle);
        for stream in self.streams() {
            stream.end();
            STREAMS.remove(stream.handle);
        }
        module::unload_all(self.handle);
        array::destroy_all(self.handle);
        event::destroy_all(self.handle);
        let owned = |mapping: &Mapping| mapping.context == self.handle;
        for mapping in space::all(owned) {
            match mapping.kind {
                Kind::Device | Kind::Managed | Kind::Global => {
                    let _ = ordinary::free(mapping.start, |_| true);
                }
                Kind::Ipc => {
                    space::remove(mapping.start);
                    crate::memory::addresses::give_back(mapping.start);
                }
                Kind::Host | Kind::Registered => {
                    space::remove(mapping.start);
                }
                _ => {}
            }
        }
        let _ = open_nodes();
    }

    /// All its streams, the default ones too.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        let mut streams = vec![self.legacy.clone()];
        streams.extend(
            lock(&self.per_thread)
                .values()
                .map(|(_, stream)| stream.clone()),
        );
        let of_handles = STREAMS.all().into_iter().chain(stream::ending());
        streams.extend(of_handles.filter(|stream| stream.context == self.handle));
        streams
    }

    /// The stream of a handle, where NULL is the legacy one.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_HANDLE`.
    pub fn stream(&self, handle: Handle) -> Outcome<Arc<Stream>> {
        match handle {
            0 | CU_STREAM_LEGACY => Ok(self.legacy.clone()),
            CU_STREAM_PER_THREAD => Ok(self.per_thread()),
            _ => STREAMS.get(handle).ok_or(CUDA_ERROR_INVALID_HANDLE),
        }
    }

    fn per_thread(&self) -> Arc<Stream> {
        let thread = thread::current().id();
        let mut streams = lock(&self.per_thread);
        if let Some((_, stream)) = streams.values().find(|(of, _)| *of == thread) {
            return stream.clone();
        }
        let place = (self.handle, self.device);
        let stream = Stream::new(CU_STREAM_PER_THREAD, place, self.fault.clone(), 0, 0);
        streams.insert(stream.id, (thread, stream.clone()));
        stream
    }

    /// Gives work to a stream, behind what it has to wait for.
    pub fn submit(
        &self,
        stream: &Arc<Stream>,
        mut waits: Vec<Arc<Fence>>,
        work: Work,
    ) -> Arc<Fence> {
        let _order = lock(&self.order);
        if Arc::ptr_eq(stream, &self.legacy) {
            let blocking = self
                .streams()
                .into_iter()
                .filter(|stream| stream.is_blocking());
            waits.extend(blocking.filter_map(|stream| stream.last()));
        } else if stream.is_blocking() {
            waits.extend(self.legacy.last());
        }
        stream.submit(waits, work)
    }

    /// Waits until all its work is done.
    ///
    /// # Errors
    /// The context's fault.
    pub fn synchronize(&self) -> Outcome<()> {
        for fence in self.streams().iter().filter_map(|stream| stream.last()) {
            fence.wait();
        }
        self.fault.check()
    }
}

/// Opens the nodes of devices that have contexts, and closes the others.
///
/// # Errors
/// `CUDA_ERROR_NO_DEVICE`.
pub fn open_nodes() -> Outcome<()> {
    let with: BTreeSet<usize> = CONTEXTS
        .all()
        .iter()
        .map(|context| context.device)
        .collect();
    let number = |ordinal: usize| device::all()[ordinal].gpu().number;
    let numbers: Vec<usize> = with.into_iter().map(number).collect();
    node::open(&numbers).map_err(|reason| {
        eprintln!("stub libcuda: {reason}");
        CUDA_ERROR_NO_DEVICE
    })
}

/// The current context's handle; 0 for none.
pub fn current_handle() -> Handle {
    STACK.with_borrow(|stack| stack.last().copied().unwrap_or(0))
}

/// The current context, whatever state it is in.
///
/// # Errors
/// `CUDA_ERROR_INVALID_CONTEXT` for none, `CUDA_ERROR_CONTEXT_IS_DESTROYED`.
pub fn current_any() -> Outcome<Arc<Context>> {
    match current_handle() {
        0 => Err(CUDA_ERROR_INVALID_CONTEXT),
        handle => CONTEXTS.get(handle).ok_or(CUDA_ERROR_CONTEXT_IS_DESTROYED),
    }
}

/// The current context, able to work.
///
/// # Errors
/// As [`current_any`], and the context's fault.
pub fn current() -> Outcome<Arc<Context>> {
    let context = current_any()?;
    context.fault.check()?;
    Ok(context)
}

pub fn push(context: Handle) {
    STACK.with_borrow_mut(|stack| stack.push(context));
}

pub fn pop() -> Option<Handle> {
    STACK.with_borrow_mut(|stack| stack.pop())
}

/// Puts a context in place of the current one; 0 takes that away.
pub fn set(context: Handle) {
    STACK.with_borrow_mut(|stack| {
        stack.pop();
        if context != 0 {
            stack.push(context);
        }
    });
}

/// The current context and a stream of it, or the other one that the stream belongs to.
///
/// # Errors
/// As [`current`], and `CUDA_ERROR_INVALID_HANDLE`.
pub fn of_stream(default: Default, handle: Handle) -> Outcome<(Arc<Context>, Arc<Stream>)> {
    let context = current()?;
    let stream = context.stream(default.stream(handle))?;
    if stream.context == context.handle {
        return Ok((context, stream));
    }
    let other = CONTEXTS
        .get(stream.context)
        .ok_or(CUDA_ERROR_INVALID_HANDLE)?;
    other.fault.check()?;
    Ok((other, stream))
}

/// Gives work to a stream, or to the capture that it is part of.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for memory that is not there, and those of captures.
pub fn enqueue(context: &Context, stream: &Arc<Stream>, work: Work) -> Outcome<()> {
    work.check()?;
    if capture::is_legacy_forbidden(stream.handle == CU_STREAM_LEGACY, context.handle) {
        return Err(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    }
    let mut joined = lock(&stream.capture);
    match &mut *joined {
        Some(joined) => joined.add(work),
        None => {
            drop(joined);
            context.submit(stream, Vec::new(), work);
            Ok(())
        }
    }
}

/// Does work now, on the default stream.
///
/// # Errors
/// As [`enqueue`], and the context's fault.
pub fn run_now(default: Default, work: Work) -> Outcome<()> {
    let (context, stream) = of_stream(default, 0)?;
    work.check()?;
    if capture::is_legacy_forbidden(stream.handle == CU_STREAM_LEGACY, context.handle) {
        return Err(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    }
    capture::unsafe_call()?;
    context.submit(&stream, Vec::new(), work).wait();
    context.fault.check()
}

static PRIMARY: Mutex<BTreeMap<usize, Primary>> = Mutex::new(BTreeMap::new());

/// A device's primary context.
#[derive(Clone, Copy)]
struct Primary {
    handle: Handle,
    references: usize,
    flags: c_uint,
}

fn with_primary<T>(device: usize, action: impl FnOnce(&mut Primary) -> T) -> T {
    let mut primaries = lock(&PRIMARY);
    let primary = primaries.entry(device).or_insert_with(|| Primary {
        handle: table::new_handle(),
        references: 0,
        flags: 0,
    });
    action(primary)
}

/// # Errors
/// As [`Context::create`].
pub fn retain_primary(device: usize) -> Outcome<Handle> {
    with_primary(device, |primary| {
        if CONTEXTS.get(primary.handle).is_none() {
            Context::create(primary.handle, device, primary.flags, true)?;
            primary.references = 0;
        }
        primary.references += 1;
        Ok(primary.handle)
    })
}

/// # Errors
/// `CUDA_ERROR_INVALID_CONTEXT` where it was not retained.
pub fn release_primary(device: usize) -> Outcome<()> {
    with_primary(device, |primary| {
        if primary.references == 0 {
            return Err(CUDA_ERROR_INVALID_CONTEXT);
        }
        primary.references -= 1;
        if primary.references == 0 {
            CONTEXTS
                .get(primary.handle)
                .ok_or(CUDA_ERROR_INVALID_CONTEXT)?
                .destroy();
        }
        Ok(())
    })
}

pub fn reset_primary(device: usize) {
    with_primary(device, |primary| {
        if let Some(context) = CONTEXTS.get(primary.handle) {
            context.destroy();
        }
        primary.references = 0;
    });
}

pub fn set_primary_flags(device: usize, flags: c_uint) {
    with_primary(device, |primary| {
        primary.flags = flags;
        if let Some(context) = CONTEXTS.get(primary.handle) {
            *lock(&context.flags) = flags;
        }
    });
}

/// Flags, and whether it is active.
pub fn primary_state(device: usize) -> (c_uint, bool) {
    with_primary(device, |primary| {
        (primary.flags, CONTEXTS.get(primary.handle).is_some())
    })
}
