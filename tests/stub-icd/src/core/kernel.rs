//! Kernels and their arguments.

use std::ffi::c_void;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use opencl_sys::{
    CL_INVALID_ARG_INDEX, CL_INVALID_ARG_SIZE, CL_INVALID_ARG_VALUE, CL_INVALID_DEVICE_QUEUE,
    CL_INVALID_KERNEL, CL_INVALID_KERNEL_ARGS, CL_INVALID_MEM_OBJECT, CL_INVALID_SAMPLER, cl_int,
};

use super::device::Device;
use super::mem::Mem;
use super::program::Program;
use super::queue::Queue;
use super::sampler::Sampler;
use crate::ffi::{CLResult, HostIn};
use crate::handle::{self, Object, Slot};
use crate::kernels::parse::{Kind, Signature, Space};
use crate::kernels::run::Argument;
use crate::lock::lock;
use crate::report::violation;

pub struct Kernel {
    pub slot: Slot,
    pub program: Arc<Program>,
    pub signature: Arc<Signature>,
    arguments: Mutex<Vec<Option<Set>>>,
}

/// An argument that was set. "A kernel object does not update the reference count for objects such as memory or
/// sampler objects specified as argument values."
#[derive(Clone)]
enum Set {
    Null,
    Memory(Weak<Mem>),
    Address(usize),
    Sampler(Weak<Sampler>),
    Queue(Weak<Queue>),
    Value(Vec<u8>),
    Local(usize),
}

impl Object for Kernel {
    const KIND: &'static str = "cl_kernel";
    const INVALID: cl_int = CL_INVALID_KERNEL;
}

impl Kernel {
    pub fn create(program: Arc<Program>, signature: Arc<Signature>) -> *mut c_void {
        let arguments = vec![None; signature.parameters.len()];
        Self::with(program, signature, arguments)
    }

    /// `clCloneKernel`.
    pub fn copy(&self) -> *mut c_void {
        let arguments = lock(&self.arguments).clone();
        Self::with(self.program.clone(), self.signature.clone(), arguments)
    }

    fn with(
        program: Arc<Program>,
        signature: Arc<Signature>,
        arguments: Vec<Option<Set>>,
    ) -> *mut c_void {
        program.kernels.fetch_add(1, Ordering::Relaxed);
        let make = |slot| Kernel {
            slot,
            program,
            signature,
            arguments: Mutex::new(arguments),
        };
        handle::publish(1, make).slot.handle()
    }

    /// `clSetKernelArg`.
    pub fn set(&self, index: usize, size: usize, value: HostIn) -> CLResult<()> {
        let parameter = self
            .signature
            .parameters
            .get(index)
            .ok_or(CL_INVALID_ARG_INDEX)?;
        let set = match parameter.kind {
            Kind::Pointer(_) if parameter.space == Space::Local => match (size, value.is_null()) {
                (0, _) => return Err(CL_INVALID_ARG_SIZE),
                (_, false) => return Err(CL_INVALID_ARG_VALUE),
                (size, true) if size as u64 > Device::LOCAL_MEMORY => {
                    return Err(CL_INVALID_ARG_SIZE);
                }
                (size, true) => Set::Local(size),
            },
            Kind::Value(scalar) if size != scalar.size() => return Err(CL_INVALID_ARG_SIZE),
            Kind::Value(_) => Set::Value(value.bytes(size).ok_or(CL_INVALID_ARG_VALUE)?),
            Kind::Pointer(_) | Kind::Image => {
                self.memory(handle_value(size, value)?, parameter.kind == Kind::Image)?
            }
            Kind::Sampler => {
                let sampler =
                    handle::get::<Sampler>(handle_value(size, value)?.ok_or(CL_INVALID_SAMPLER)?)?;
                self.program.context.same(&sampler.context, "the sampler")?;
                Set::Sampler(Arc::downgrade(&sampler))
            }
            Kind::Queue => {
                let handle = handle_value(size, value)?.ok_or(CL_INVALID_DEVICE_QUEUE)?;
                let queue = handle::get::<Queue>(handle).map_err(|_| CL_INVALID_DEVICE_QUEUE)?;
                if queue.device_size.is_none() {
                    return Err(CL_INVALID_DEVICE_QUEUE);
                }
                Set::Queue(Arc::downgrade(&queue))
            }
        };
        lock(&self.arguments)[index] = Some(set);
        Ok(())
    }

    /// A pointer or device address.
    pub fn set_address(&self, index: usize, address: usize) -> CLResult<()> {
        let parameter = self.signature.parameters.get(index);
        if !matches!(
            parameter.ok_or(CL_INVALID_ARG_INDEX)?.kind,
            Kind::Pointer(_)
        ) {
            return Err(CL_INVALID_ARG_VALUE);
        }
        lock(&self.arguments)[index] = Some(Set::Address(address));
        Ok(())
    }

    fn memory(&self, handle: Option<*mut c_void>, image: bool) -> CLResult<Set> {
        let Some(handle) = handle else {
            return if image {
                Err(CL_INVALID_MEM_OBJECT)
            } else {
                Ok(Set::Null)
            };
        };
        let mem = handle::get::<Mem>(handle)?;
        if self
            .program
            .context
            .same(&mem.context, "the memory object")
            .is_err()
            || mem.shape.is_some() != image
        {
            return Err(CL_INVALID_MEM_OBJECT);
        }
        Ok(Set::Memory(Arc::downgrade(&mem)))
    }

    /// The arguments as they are now.
    ///
    /// # Errors
    /// `CL_INVALID_KERNEL_ARGS` if one is not set, or was released since (which is recorded).
    pub fn arguments(&self) -> CLResult<Vec<Argument>> {
        let arguments = lock(&self.arguments).clone();
        arguments
            .into_iter()
            .enumerate()
            .map(|(index, set)| self.argument(index, set))
            .collect()
    }

    fn argument(&self, index: usize, set: Option<Set>) -> CLResult<Argument> {
        let released = || {
            let name = &self.signature.name;
            violation(format!(
                "argument {index} of kernel '{name}' was released before the kernel was enqueued"
            ));
            CL_INVALID_KERNEL_ARGS
        };
        match set.ok_or(CL_INVALID_KERNEL_ARGS)? {
            Set::Null => Ok(Argument::Memory(None)),
            Set::Address(address) => {
                let context = &self.program.context;
                let mem = Mem::at_address(context.clone(), address);
                Ok(Argument::Memory(Some(mem.ok_or_else(released)?)))
            }
            Set::Memory(mem) => mem
                .upgrade()
                .map(|mem| Argument::Memory(Some(mem)))
                .ok_or_else(released),
            Set::Sampler(sampler) => sampler
                .upgrade()
                .map(|_| Argument::Sampler)
                .ok_or_else(released),
            Set::Queue(queue) => queue
                .upgrade()
                .map(|_| Argument::Queue)
                .ok_or_else(released),
            Set::Value(bytes) => Ok(Argument::Value(bytes)),
            Set::Local(size) => Ok(Argument::Local(size)),
        }
    }

    /// `CL_KERNEL_LOCAL_MEM_SIZE`.
    pub fn local_memory(&self) -> u64 {
        let arguments = lock(&self.arguments);
        let sizes = arguments.iter().map(|set| match set {
            Some(Set::Local(size)) => *size as u64,
            _ => 0,
        });
        sizes.sum()
    }
}

/// The handle that an argument's value is; `None` for NULL in one of its two ways.
fn handle_value(size: usize, value: HostIn) -> CLResult<Option<*mut c_void>> {
    if size != size_of::<*mut c_void>() {
        return Err(CL_INVALID_ARG_SIZE);
    }
    let bytes = value
        .bytes(size)
        .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    let address = bytes.map_or(0, usize::from_ne_bytes);
    Ok((address != 0).then(|| std::ptr::with_exposed_provenance_mut(address)))
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.program.kernels.fetch_sub(1, Ordering::Relaxed);
    }
}
