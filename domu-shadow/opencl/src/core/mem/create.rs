//! Creating memory objects.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_MEM_ALLOC_HOST_PTR, CL_MEM_COPY_HOST_PTR, CL_MEM_OBJECT_ALLOCATION_FAILURE, cl_int,
    cl_mem_flags,
};

use super::image::Image;
use super::object::{Form, HOST_ACCESS, HOST_POINTER, Mem, Properties, release};
use super::storage::Storage;
use crate::CLResult;
use crate::core::context::Context;
use crate::core::host_memory::HostMemory;
use crate::driver::dispatch::create;
use runtime::blocked;

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
        let storage = Storage::new(flags, host);
        if flags & CL_MEM_ALLOC_HOST_PTR != 0 {
            let memory = HostMemory::new(size).map_err(|_| {
                let refusal = Mem::refusal(&context, flags, size, host);
                refusal.unwrap_or(CL_MEM_OBJECT_ALLOCATION_FAILURE)
            })?;
            storage.own.get_or_init(|| Arc::new(memory));
        }
        let mut mem = Mem::new(context, flags, Form::Buffer, size, Arc::new(storage));
        mem.properties = properties;
        if flags & CL_MEM_ALLOC_HOST_PTR != 0 {
            if flags & CL_MEM_COPY_HOST_PTR != 0 {
                let to = mem.host_address()? as *mut u8;
                // SAFETY: the program gives `size` readable bytes with `CL_MEM_COPY_HOST_PTR`; ours are new.
                unsafe { std::ptr::copy_nonoverlapping(host.cast::<u8>().cast_const(), to, size) };
            }
            mem.create_driver(std::ptr::null_mut())?;
            mem.lend_to_driver();
        } else {
            mem.create_driver(host)?;
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
        let context = Arc::clone(&parent.context);
        let flags = flags | parent.inherited(flags) | parent.flags & HOST_POINTER;
        let storage = Arc::clone(&parent.storage);
        let mut mem = Mem::new(context, flags, Form::Buffer, size, storage);
        mem.origin = origin;
        mem.parent = Some(parent);
        mem.create_driver(std::ptr::null_mut())?;
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
        let (size, storage) = (image.size(), Arc::new(Storage::new(flags, host)));
        let form = Form::Image(image);
        let mut mem = Mem::new(context, flags | inherited, form, size, storage);
        mem.real.set(real);
        mem.parent = parent;
        mem.properties = properties;
        Ok(Arc::new(mem))
    }

    /// The shadow of a driver's pipe that this process owns from now on.
    pub fn of_pipe(context: Arc<Context>, flags: cl_mem_flags, real: *mut c_void) -> Arc<Mem> {
        blocked::block("a pipe");
        let storage = Arc::new(Storage::new(flags, std::ptr::null_mut()));
        let mem = Mem::new(context, flags, Form::Pipe, 0, storage);
        mem.real.set(real);
        // It has no contents to capture.
        mem.take_marks();
        Arc::new(mem)
    }
}
