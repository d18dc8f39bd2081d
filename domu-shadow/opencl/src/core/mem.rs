//! Memory objects: buffers, sub-buffers, images.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use opencl_sys::{
    CL_BUFFER_CREATE_TYPE_REGION, CL_INVALID_MEM_OBJECT, CL_MEM_ALLOC_HOST_PTR,
    CL_MEM_COPY_HOST_PTR, CL_MEM_HOST_NO_ACCESS, CL_MEM_HOST_READ_ONLY, CL_MEM_HOST_WRITE_ONLY,
    CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_MEM_READ_ONLY, CL_MEM_USE_HOST_PTR, cl_buffer_region,
    cl_int, cl_mem_flags,
};

use super::context::Context;
use super::driver_handle::DriverHandle;
use super::farewell::Destructors;
use super::handle::{Kind, Object, Slot};
use super::host_memory::HostMemory;
use super::image::Image;
use super::map::Maps;
use crate::CLResult;
use crate::driver::dispatch::{create, status};
use runtime::blocked::{self, Hold};
use runtime::residency::{Residency, Resident, ensure_resident};

/// Kept from the driver, and checked here: a capture must be able to read and write every buffer.
pub const HOST_ACCESS: cl_mem_flags =
    CL_MEM_HOST_NO_ACCESS | CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_WRITE_ONLY;
/// Kept from the driver where the shadow gives the memory itself.
pub const HOST_POINTER: cl_mem_flags =
    CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR;

/// While set, commands that may write a buffer mark it. See [`crate::mover::dirty`].
pub static TRACKING: AtomicBool = AtomicBool::new(false);

/// What kind of memory object.
pub enum Form {
    Buffer,
    Image(Image),
    /// Blocks moves: it is never made again.
    Pipe,
}

/// Where the program sees the bytes: shared by a root buffer and its sub-buffers; each image has its own.
pub struct Storage {
    /// The program's memory (`CL_MEM_USE_HOST_PTR`), else 0.
    program: usize,
    /// Ours: at once for `CL_MEM_ALLOC_HOST_PTR`, else from the first map on.
    own: OnceLock<Arc<HostMemory>>,
    pub maps: Mutex<Maps>,
    /// What commands were enqueued while tracking.
    marks: Marks,
    residency: Residency,
}

/// Set by the program's threads, taken by a capture.
struct Marks {
    /// One that may write the object, by what its arguments say.
    written: AtomicBool,
    /// One that names it at all, so that a kernel may write it after all, its `const` cast away.
    used: AtomicBool,
}

impl Marks {
    fn new(set: bool) -> Marks {
        Marks {
            written: AtomicBool::new(set),
            used: AtomicBool::new(set),
        }
    }
}

/// What `clCreateBufferWithProperties` or `clCreateImageWithProperties` was passed beside the flags.
#[derive(Default)]
pub struct Properties {
    /// As the program passed them, ending zero included; empty where it passed NULL.
    pub given: Vec<u64>,
    /// With the driver's handles.
    pub real: Vec<u64>,
    /// For each property: it keeps the process where it is.
    pub holds: Vec<Hold>,
}

pub struct Mem {
    slot: Slot<Mem>,
    pub real: DriverHandle,
    pub context: Arc<Context>,
    /// As the program passed them; a sub-buffer's with what it inherits.
    pub flags: cl_mem_flags,
    pub form: Form,
    /// Bytes; of an image, those of its packed contents.
    pub size: usize,
    /// The buffer of a sub-buffer, or the buffer or image that an image was made from.
    pub parent: Option<Arc<Mem>>,
    /// Offset in the parent, bytes.
    pub origin: usize,
    storage: Arc<Storage>,
    pub properties: Properties,
    pub destructors: Destructors,
}

/// Of an object that has no contents of its own, those of its root.
impl Resident for Mem {
    fn id(&self) -> u64 {
        self.root().slot.id()
    }

    fn bytes(&self) -> u64 {
        self.root().size as u64
    }

    fn residency(&self) -> &Residency {
        &self.root().storage.residency
    }
}

impl Object for Mem {
    const KIND: Kind = Kind::Mem;
    const INVALID: cl_int = CL_INVALID_MEM_OBJECT;
    fn slot(&self) -> &Slot<Self> {
        &self.slot
    }
}

impl Mem {
    /// A root buffer. `host` is the program's pointer, whose presence was checked against `flags`.
    ///
    /// # Errors
    /// The driver's.
    pub fn create(
        context: Arc<Context>,
        flags: cl_mem_flags,
        size: usize,
        host: *mut c_void,
        properties: Properties,
    ) -> CLResult<Arc<Mem>> {
        let own = OnceLock::new();
        if flags & CL_MEM_ALLOC_HOST_PTR != 0 {
            let memory = HostMemory::new(size).map_err(|_| {
                let refusal = Mem::refusal(&context, flags, size, host);
                refusal.unwrap_or(CL_MEM_OBJECT_ALLOCATION_FAILURE)
            })?;
            own.get_or_init(|| Arc::new(memory));
        }
        let program = if flags & CL_MEM_USE_HOST_PTR != 0 {
            host as usize
        } else {
            0
        };
        let mem = Mem {
            slot: Slot::reserve(),
            real: DriverHandle::new(std::ptr::null_mut()),
            context,
            flags,
            form: Form::Buffer,
            size,
            parent: None,
            origin: 0,
            storage: Arc::new(Storage {
                program,
                own,
                maps: Mutex::default(),
                marks: Marks::new(true),
                residency: Residency::default(),
            }),
            properties,
            destructors: Destructors::default(),
        };
        if flags & CL_MEM_ALLOC_HOST_PTR != 0 {
            if flags & CL_MEM_COPY_HOST_PTR != 0 {
                let to = mem.host_address()? as *mut u8;
                // SAFETY: the program gives `size` readable bytes with `CL_MEM_COPY_HOST_PTR`; ours are new.
                unsafe { std::ptr::copy_nonoverlapping(host.cast::<u8>().cast_const(), to, size) };
            }
            mem.make(std::ptr::null_mut())?;
            mem.lend_to_driver();
        } else {
            mem.make(host)?;
        }
        Ok(Arc::new(mem))
    }

    /// The driver's code for a root buffer that the shadow does not make; `None` if the driver would.
    pub fn refusal(
        context: &Context,
        flags: cl_mem_flags,
        size: usize,
        host: *mut c_void,
    ) -> Option<cl_int> {
        let context = context.real.get();
        let made = create!(context, clCreateBuffer(context, flags, size, host));
        made.map(release).err()
    }

    /// A sub-buffer of `parent`; `flags` are what the program passed.
    ///
    /// # Errors
    /// The driver's.
    pub fn create_sub(
        parent: Arc<Mem>,
        flags: cl_mem_flags,
        origin: usize,
        size: usize,
    ) -> CLResult<Arc<Mem>> {
        let mem = Mem {
            slot: Slot::reserve(),
            real: DriverHandle::new(std::ptr::null_mut()),
            context: Arc::clone(&parent.context),
            flags: flags | parent.inherited(flags) | parent.flags & HOST_POINTER,
            form: Form::Buffer,
            size,
            origin,
            storage: Arc::clone(&parent.storage),
            parent: Some(parent),
            properties: Properties::default(),
            destructors: Destructors::default(),
        };
        mem.make(std::ptr::null_mut())?;
        Ok(Arc::new(mem))
    }

    /// The host access that an object made from this one inherits, if `flags` name none.
    fn inherited(&self, flags: cl_mem_flags) -> cl_mem_flags {
        if flags & HOST_ACCESS == 0 {
            self.flags & HOST_ACCESS
        } else {
            0
        }
    }

    /// An image of its own, or made from `parent`. `host` is the program's pointer.
    ///
    /// # Errors
    /// The driver's.
    pub fn create_image(
        context: Arc<Context>,
        flags: cl_mem_flags,
        mut image: Image,
        parent: Option<Arc<Mem>>,
        host: *mut c_void,
        properties: Properties,
    ) -> CLResult<Arc<Mem>> {
        let inherited = parent.as_ref().map_or(0, |parent| parent.inherited(flags));
        let real_parent = parent
            .as_ref()
            .map_or(std::ptr::null_mut(), |parent| parent.real.get());
        let to_driver = flags & !(HOST_ACCESS | CL_MEM_ALLOC_HOST_PTR);
        let list = &properties.real;
        let real = image.make(context.real.get(), to_driver, real_parent, host, list)?;
        if let Err(code) = image.learn(real, flags) {
            release(real);
            return Err(code);
        }
        if image.has_levels() {
            blocked::block("an image with mip levels or several samples");
        }
        let uses_host = flags & CL_MEM_USE_HOST_PTR != 0;
        Ok(Arc::new(Mem {
            slot: Slot::reserve(),
            real: DriverHandle::new(real),
            context,
            flags: flags | inherited,
            size: image.size(),
            form: Form::Image(image),
            origin: 0,
            storage: Arc::new(Storage {
                program: if uses_host { host as usize } else { 0 },
                own: OnceLock::new(),
                maps: Mutex::default(),
                marks: Marks::new(true),
                residency: Residency::default(),
            }),
            parent,
            properties,
            destructors: Destructors::default(),
        }))
    }

    /// The shadow of a driver's pipe that this process owns from now on.
    pub fn of_pipe(context: Arc<Context>, flags: cl_mem_flags, real: *mut c_void) -> Arc<Mem> {
        blocked::block("a pipe");
        Arc::new(Mem {
            slot: Slot::reserve(),
            real: DriverHandle::new(real),
            context,
            flags,
            form: Form::Pipe,
            size: 0,
            parent: None,
            origin: 0,
            storage: Arc::new(Storage {
                program: 0,
                own: OnceLock::new(),
                maps: Mutex::default(),
                marks: Marks::new(false),
                residency: Residency::default(),
            }),
            properties: Properties::default(),
            destructors: Destructors::default(),
        })
    }

    pub fn is_buffer(&self) -> bool {
        matches!(self.form, Form::Buffer)
    }

    pub fn image(&self) -> Option<&Image> {
        match &self.form {
            Form::Image(image) => Some(image),
            Form::Buffer | Form::Pipe => None,
        }
    }

    /// Makes the driver's object: at creation with the program's `host` pointer, after a move with null (contents
    /// come by writing then).
    ///
    /// # Errors
    /// The driver's.
    pub fn make(&self, host: *mut c_void) -> CLResult<()> {
        let access = self.flags & !(HOST_ACCESS | HOST_POINTER);
        if let Form::Image(image) = &self.form {
            let parent = self
                .parent
                .as_ref()
                .map_or(std::ptr::null_mut(), |parent| parent.real.get());
            let flags = access | self.flags & CL_MEM_USE_HOST_PTR;
            let host = self.program_pointer();
            self.real.set(image.make(
                self.context.real.get(),
                flags,
                parent,
                host,
                &self.properties.real,
            )?);
            return Ok(());
        }
        let real = if let Some(parent) = &self.parent {
            let region = cl_buffer_region {
                origin: self.origin,
                size: self.size,
            };
            let parent = parent.real.get();
            create!(
                parent,
                clCreateSubBuffer(
                    parent,
                    access,
                    CL_BUFFER_CREATE_TYPE_REGION,
                    (&raw const region).cast()
                )
            )?
        } else {
            let context = self.context.real.get();
            let (flags, pointer) = if self.has_host_storage() {
                (
                    access | CL_MEM_USE_HOST_PTR,
                    self.host_address()? as *mut c_void,
                )
            } else if host.is_null() {
                (access, host)
            } else {
                (access | self.flags & CL_MEM_COPY_HOST_PTR, host)
            };
            match &self.properties.real[..] {
                [] | [0] => create!(context, clCreateBuffer(context, flags, self.size, pointer))?,
                list => create!(
                    context,
                    clCreateBufferWithProperties(context, list.as_ptr(), flags, self.size, pointer)
                )?,
            }
        };
        self.real.set(real);
        Ok(())
    }

    /// Whether the driver's object lies over host memory: the program's, or for `CL_MEM_ALLOC_HOST_PTR` a buffer's
    /// ours.
    pub fn has_host_storage(&self) -> bool {
        let ours = match self.form {
            Form::Buffer => CL_MEM_ALLOC_HOST_PTR,
            Form::Image(_) | Form::Pipe => 0,
        };
        self.flags & (CL_MEM_USE_HOST_PTR | ours) != 0
    }

    /// The driver may touch our memory until its object is really gone: it owns a reference until then.
    fn lend_to_driver(&self) {
        let Some(memory) = self.storage.own.get() else {
            return;
        };
        let real = self.real.get();
        let lent = Arc::into_raw(Arc::clone(memory)).cast_mut().cast();
        // On error the memory stays lent for ever, which is safe.
        let _ = status!(
            real,
            clSetMemObjectDestructorCallback(real, Some(give_back), lent)
        );
    }

    /// The object that holds the contents: itself, or what it was made from.
    pub fn root(&self) -> &Mem {
        let mut root = self;
        while let Some(parent) = &root.parent {
            root = parent;
        }
        root
    }

    /// Where byte 0 of this object lies when mapped.
    ///
    /// # Errors
    /// `CL_MEM_OBJECT_ALLOCATION_FAILURE` where there is no address space for it.
    pub fn host_address(&self) -> CLResult<usize> {
        if self.storage.program != 0 {
            return Ok(self.storage.program + self.origin);
        }
        if let Some(own) = self.storage.own.get() {
            return Ok(own.address() + self.origin);
        }
        let (owner, bytes) = match &self.form {
            Form::Image(image) => (self, image.host_size()),
            Form::Buffer | Form::Pipe => (self.root(), self.root().size),
        };
        let memory = HostMemory::new(bytes).map_err(|_| CL_MEM_OBJECT_ALLOCATION_FAILURE)?;
        let own = self.storage.own.get_or_init(|| Arc::new(memory));
        // Unmapping reads from it after the program may have released the object.
        owner.lend_to_driver();
        Ok(own.address() + self.origin)
    }

    /// `CL_MEM_HOST_PTR`.
    pub fn program_pointer(&self) -> *mut c_void {
        let address = if self.storage.program == 0 {
            0
        } else {
            self.storage.program + self.origin
        };
        address as *mut c_void
    }

    pub fn maps(&self) -> std::sync::MutexGuard<'_, Maps> {
        self.storage
            .maps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A command that may write this object was enqueued. To be called *after* the driver took the command: a
    /// capture that cleared the mark before then has its own marker behind the command.
    #[inline]
    pub fn mark_written(&self) {
        if TRACKING.load(Ordering::Relaxed) {
            self.set_written();
        }
    }

    /// The same for a kernel that has it as an argument which the kernel should not write.
    #[inline]
    pub fn mark_used(&self) {
        if TRACKING.load(Ordering::Relaxed) {
            self.set_used();
        }
    }

    /// A command names it: waits until its contents are there.
    #[inline]
    pub fn ensure_resident(&self) {
        ensure_resident([self]);
    }

    /// Whether kernels may write it.
    #[inline]
    pub fn kernels_may_write(&self) -> bool {
        self.flags & CL_MEM_READ_ONLY == 0
    }

    pub fn set_written(&self) {
        let marks = &self.root().storage.marks;
        marks.written.store(true, Ordering::Relaxed);
        marks.used.store(true, Ordering::Relaxed);
    }

    pub fn set_used(&self) {
        self.root()
            .storage
            .marks
            .used
            .store(true, Ordering::Relaxed);
    }

    /// Whether a command that may write it was enqueued since the marks were taken.
    pub fn is_written(&self) -> bool {
        self.storage.marks.written.load(Ordering::Acquire)
    }

    /// Whether any command that names it was.
    pub fn is_used(&self) -> bool {
        self.storage.marks.used.load(Ordering::Acquire)
    }

    /// Takes the marks away: whether it was used, and written.
    pub fn take_marks(&self) -> (bool, bool) {
        let marks = &self.storage.marks;
        let used = marks.used.swap(false, Ordering::AcqRel);
        (used, marks.written.swap(false, Ordering::AcqRel))
    }

    /// Releases the driver's object; made again by [`Mem::make`].
    pub fn unmake(&self) {
        if let Some(real) = self.real.take() {
            release(real);
        }
    }

    /// After a move: the new driver's object also holds our memory.
    pub fn lend_again(&self) {
        if self.parent.is_none() || self.image().is_some() {
            self.lend_to_driver();
        }
    }
}

fn release(real: *mut c_void) {
    if let Err(code) = status!(real, clReleaseMemObject(real)) {
        log::warn!("a driver refused to release a memory object: error {code}");
    }
}

unsafe extern "C" fn give_back(_real: *mut c_void, lent: *mut c_void) {
    // SAFETY: `lent` came from `Arc::into_raw` in `lend_to_driver`, and a driver calls this once.
    drop(unsafe { Arc::from_raw(lent.cast_const().cast::<HostMemory>()) });
}

impl Drop for Mem {
    fn drop(&mut self) {
        let farewell = self.destructors.farewell(self.slot.handle());
        match self.real.take() {
            Some(real) => farewell.say_when_gone(
                |call, user| {
                    status!(
                        real,
                        clSetMemObjectDestructorCallback(real, Some(call), user)
                    )
                },
                || release(real),
            ),
            None => farewell.say(),
        }
    }
}
