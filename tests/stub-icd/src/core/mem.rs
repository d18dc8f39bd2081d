//! Memory objects: buffers, sub-buffers, images.

use std::ffi::c_void;
use std::sync::{Arc, Weak};

use opencl_sys::{
    CL_EXTERNAL_MEMORY_HANDLE_OPAQUE_FD_KHR, CL_INVALID_BUFFER_SIZE, CL_INVALID_HOST_PTR,
    CL_INVALID_MEM_OBJECT, CL_INVALID_OPERATION, CL_INVALID_VALUE, CL_MEM_ALLOC_HOST_PTR,
    CL_MEM_COPY_HOST_PTR, CL_MEM_DEVICE_PRIVATE_ADDRESS_EXT, CL_MEM_HOST_NO_ACCESS,
    CL_MEM_HOST_READ_ONLY, CL_MEM_HOST_WRITE_ONLY, CL_MEM_OBJECT_BUFFER, CL_MEM_READ_ONLY,
    CL_MEM_READ_WRITE, CL_MEM_USE_HOST_PTR, CL_MEM_WRITE_ONLY, CL_MISALIGNED_SUB_BUFFER_OFFSET,
    cl_int,
};

use super::addresses::Addressed;
use super::context::Context;
use super::image::Shape;
use super::mapping::Mappings;
use crate::callback::Destructors;
use crate::ffi::{CLResult, HostOut};
use crate::handle::{self, Object, Slot};
use crate::memory::Memory;
use crate::options;

/// Bytes; `CL_DEVICE_MEM_BASE_ADDR_ALIGN` tells it in bits.
pub const ALIGNMENT: usize = 256;
const ACCESS: u64 = CL_MEM_READ_WRITE | CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY;
const HOST_ACCESS: u64 = CL_MEM_HOST_NO_ACCESS | CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_WRITE_ONLY;
const HOST_POINTER: u64 = CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR;

pub struct Mem {
    pub slot: Slot,
    pub context: Arc<Context>,
    /// `CL_MEM_TYPE`.
    pub kind: u32,
    pub flags: u64,
    pub size: usize,
    pub memory: Arc<Memory>,
    /// Where this object starts in its memory: not 0 for some sub-buffers.
    pub offset: usize,
    pub parent: Option<Arc<Mem>>,
    pub shape: Option<Shape>,
    /// `CL_MEM_HOST_PTR`.
    pub host_address: usize,
    pub properties: Vec<u64>,
    pub mappings: Mappings,
    pub destructors: Destructors,
}

impl Object for Mem {
    const KIND: &'static str = "cl_mem";
    const INVALID: cl_int = CL_INVALID_MEM_OBJECT;
}

/// Whether flags contradict each other or are unknown.
fn check_flags(flags: u64) -> CLResult<()> {
    let several = |mask: u64| (flags & mask).count_ones() > 1;
    let known = ACCESS | HOST_ACCESS | HOST_POINTER | CL_MEM_ALLOC_HOST_PTR;
    let use_and = flags & CL_MEM_USE_HOST_PTR != 0
        && flags & (CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR) != 0;
    if several(ACCESS) || several(HOST_ACCESS) || use_and || flags & !known != 0 {
        return Err(CL_INVALID_VALUE);
    }
    Ok(())
}

/// Flags: where none of `mask` is set, with those of `from`.
fn inherit(flags: u64, mask: u64, from: u64) -> u64 {
    if flags & mask == 0 {
        flags | from & mask
    } else {
        flags
    }
}

/// Properties of memory objects: names, each with one value.
fn property(properties: &[u64], name: u64) -> Option<u64> {
    let mut pairs = properties.chunks_exact(2);
    pairs.find(|pair| pair[0] == name).map(|pair| pair[1])
}

impl Mem {
    pub fn buffer(
        context: Arc<Context>,
        flags: u64,
        size: usize,
        host: HostOut,
        properties: Vec<u64>,
    ) -> CLResult<*mut c_void> {
        if size == 0 || size as u64 > options::in_force().memory {
            return Err(CL_INVALID_BUFFER_SIZE);
        }
        Self::create(
            context,
            CL_MEM_OBJECT_BUFFER,
            flags,
            size,
            host,
            None,
            properties,
        )
    }

    pub fn image(
        context: Arc<Context>,
        flags: u64,
        shape: Shape,
        host: HostOut,
        properties: Vec<u64>,
    ) -> CLResult<*mut c_void> {
        Self::create(
            context,
            shape.kind,
            flags,
            shape.size(),
            host,
            Some(shape),
            properties,
        )
    }

    fn create(
        context: Arc<Context>,
        kind: u32,
        flags: u64,
        size: usize,
        host: HostOut,
        shape: Option<Shape>,
        properties: Vec<u64>,
    ) -> CLResult<*mut c_void> {
        check_flags(flags)?;
        if host.is_null() != (flags & HOST_POINTER == 0) {
            return Err(CL_INVALID_HOST_PTR);
        }
        let flags = inherit(flags, ACCESS, CL_MEM_READ_WRITE);
        let external = property(&properties, CL_EXTERNAL_MEMORY_HANDLE_OPAQUE_FD_KHR.into());
        let has_address = property(&properties, CL_MEM_DEVICE_PRIVATE_ADDRESS_EXT) == Some(1);
        let memory = if let Some(file) = external {
            Memory::of_file(file as i32, size)?
        } else if flags & CL_MEM_USE_HOST_PTR != 0 {
            Arc::new(Memory::of_program(host, size))
        } else {
            Memory::device(size)?
        };
        if flags & CL_MEM_COPY_HOST_PTR != 0 {
            memory.copy_from(0, &Memory::of_program(host, size), 0, size)?;
        }
        let host_address = if flags & CL_MEM_USE_HOST_PTR != 0 {
            host.address().addr()
        } else {
            0
        };
        let addresses = context.clone();
        let make = |slot| {
            let mut mem = Mem::over(slot, context, memory, size);
            (mem.kind, mem.flags, mem.shape) = (kind, flags, shape);
            (mem.host_address, mem.properties) = (host_address, properties);
            mem
        };
        let mem = handle::publish(1, make);
        if has_address {
            let address = mem.memory.address(0).expose_provenance();
            let buffer: Weak<Mem> = Arc::downgrade(&mem);
            addresses.addresses.add_buffer(address, buffer);
        }
        Ok(mem.slot.handle())
    }

    /// A buffer over all of a memory, for reading and writing.
    fn over(slot: Slot, context: Arc<Context>, memory: Arc<Memory>, size: usize) -> Mem {
        Mem {
            slot,
            context,
            kind: CL_MEM_OBJECT_BUFFER,
            flags: CL_MEM_READ_WRITE,
            size,
            memory,
            offset: 0,
            parent: None,
            shape: None,
            host_address: 0,
            properties: Vec::new(),
            mappings: Mappings::default(),
            destructors: Destructors::default(),
        }
    }

    /// A buffer over the memory at an address, for a kernel's argument.
    pub fn at_address(context: Arc<Context>, address: usize) -> Option<Arc<Mem>> {
        let (memory, offset, size) = context.addresses.find(address)?;
        let make = |slot| {
            let mut mem = Mem::over(slot, context, memory, size);
            mem.offset = offset;
            mem
        };
        Some(handle::publish(0, make))
    }

    /// The value of a property.
    pub fn property(&self, name: u64) -> Option<u64> {
        property(&self.properties, name)
    }

    /// `clCreateSubBuffer` with `CL_BUFFER_CREATE_TYPE_REGION`.
    pub fn sub_buffer(
        parent: Arc<Mem>,
        flags: u64,
        origin: usize,
        size: usize,
    ) -> CLResult<*mut c_void> {
        check_flags(flags)?;
        if parent.kind != CL_MEM_OBJECT_BUFFER || parent.parent.is_some() {
            return Err(CL_INVALID_MEM_OBJECT);
        }
        let writes_read_only =
            parent.flags & CL_MEM_READ_ONLY != 0 && flags & (ACCESS & !CL_MEM_READ_ONLY) != 0;
        let reads_write_only =
            parent.flags & CL_MEM_WRITE_ONLY != 0 && flags & (ACCESS & !CL_MEM_WRITE_ONLY) != 0;
        let fits = origin
            .checked_add(size)
            .is_some_and(|end| end <= parent.size);
        if !fits
            || writes_read_only
            || reads_write_only
            || flags & (HOST_POINTER | CL_MEM_ALLOC_HOST_PTR) != 0
        {
            return Err(CL_INVALID_VALUE);
        }
        if size == 0 {
            return Err(CL_INVALID_BUFFER_SIZE);
        }
        if !origin.is_multiple_of(ALIGNMENT) {
            return Err(CL_MISALIGNED_SUB_BUFFER_OFFSET);
        }
        let access = inherit(
            inherit(flags, ACCESS, parent.flags),
            HOST_ACCESS,
            parent.flags,
        );
        let flags = access | parent.flags & (HOST_POINTER | CL_MEM_ALLOC_HOST_PTR);
        Ok(Self::part(
            parent,
            CL_MEM_OBJECT_BUFFER,
            flags,
            origin,
            size,
            None,
        ))
    }

    /// An image over a buffer's bytes.
    pub fn image_of_buffer(buffer: Arc<Mem>, flags: u64, shape: Shape) -> CLResult<*mut c_void> {
        if buffer.kind != CL_MEM_OBJECT_BUFFER || shape.size() > buffer.size {
            return Err(opencl_sys::CL_INVALID_IMAGE_DESCRIPTOR);
        }
        let flags = inherit(flags, ACCESS, buffer.flags);
        Ok(Self::part(
            buffer,
            shape.kind,
            flags,
            0,
            shape.size(),
            Some(shape),
        ))
    }

    fn part(
        parent: Arc<Mem>,
        kind: u32,
        flags: u64,
        origin: usize,
        size: usize,
        shape: Option<Shape>,
    ) -> *mut c_void {
        let host_address = if parent.host_address == 0 {
            0
        } else {
            parent.host_address + origin
        };
        let make = |slot| {
            let (context, memory) = (parent.context.clone(), parent.memory.clone());
            let mut mem = Mem::over(slot, context, memory, size);
            (mem.kind, mem.flags, mem.shape) = (kind, flags, shape);
            (mem.host_address, mem.offset) = (host_address, parent.offset + origin);
            mem.parent = Some(parent);
            mem
        };
        handle::publish(1, make).slot.handle()
    }

    pub fn is_buffer(&self) -> bool {
        self.kind == CL_MEM_OBJECT_BUFFER
    }

    /// Where `len` bytes at `offset` of a buffer stand in its memory.
    pub fn place(&self, offset: usize, len: usize) -> CLResult<usize> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size && len > 0 && self.is_buffer() => {
                Ok(self.offset + offset)
            }
            _ => Err(CL_INVALID_VALUE),
        }
    }

    /// The shape; `CL_INVALID_MEM_OBJECT` for a buffer.
    pub fn shape(&self) -> CLResult<Shape> {
        self.shape.ok_or(CL_INVALID_MEM_OBJECT)
    }

    /// "`CL_INVALID_OPERATION` if … called on a buffer which has been created with `CL_MEM_HOST_WRITE_ONLY` or
    /// `CL_MEM_HOST_NO_ACCESS`."
    pub fn host_may_read(&self) -> CLResult<()> {
        self.without(CL_MEM_HOST_WRITE_ONLY | CL_MEM_HOST_NO_ACCESS)
    }

    pub fn host_may_write(&self) -> CLResult<()> {
        self.without(CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS)
    }

    fn without(&self, flags: u64) -> CLResult<()> {
        if self.flags & flags == 0 {
            Ok(())
        } else {
            Err(CL_INVALID_OPERATION)
        }
    }

    /// Whether a map gives an address in the memory itself: it is the host's by the program's wish.
    pub fn maps_in_place(&self) -> bool {
        self.flags & (CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR) != 0
    }
}

impl Addressed for Mem {
    fn memory(&self) -> (Arc<Memory>, usize) {
        (self.memory.clone(), self.size)
    }
}

impl Drop for Mem {
    fn drop(&mut self) {
        self.destructors.call(self.slot.handle());
    }
}
