//! Property lists of the extensions that share objects: some properties have a list of their own, and devices in it.

use opencl_sys::{
    CL_INVALID_DEVICE, CL_INVALID_PROPERTY, CL_MEM_DEVICE_HANDLE_LIST_KHR,
    CL_MEM_DEVICE_PRIVATE_ADDRESS_EXT, CL_SEMAPHORE_DEVICE_HANDLE_LIST_KHR,
    CL_SEMAPHORE_EXPORT_HANDLE_TYPES_KHR, cl_mem_properties,
};

use crate::CLResult;
use crate::core::mem::Properties;
use crate::core::{Caller, Device, handle, obstacles};

/// One list, ending zero included: as the program passed it, and with the driver's handles.
#[derive(Default)]
pub struct List {
    pub given: Vec<u64>,
    pub real: Vec<u64>,
    pub names: Vec<u64>,
}

const SEMAPHORE_DEVICES: u64 = CL_SEMAPHORE_DEVICE_HANDLE_LIST_KHR as u64;
const SEMAPHORE_EXPORTS: u64 = CL_SEMAPHORE_EXPORT_HANDLE_TYPES_KHR;

/// `None` for NULL.
///
/// # Errors
/// `CL_INVALID_DEVICE` for a device that is none.
pub fn read(caller: &Caller, from: *const u64) -> CLResult<Option<List>> {
    if from.is_null() {
        return Ok(None);
    }
    let mut list = List::default();
    // Never past the zero that ends the list, or one in it.
    let next = |list: &List| caller.list(from.wrapping_add(list.given.len()), 1)[0];
    loop {
        let name = next(&list);
        list.push(name, name);
        if name == 0 {
            return Ok(Some(list));
        }
        list.names.push(name);
        let has_devices = [CL_MEM_DEVICE_HANDLE_LIST_KHR, SEMAPHORE_DEVICES].contains(&name);
        let is_long = has_devices || name == SEMAPHORE_EXPORTS;
        loop {
            let value = next(&list);
            let real = if has_devices && value != 0 {
                let device = handle::share::<Device>(value as usize as *mut _);
                device.map_err(|_| CL_INVALID_DEVICE)?.real.get() as u64
            } else {
                value
            };
            list.push(value, real);
            if !is_long || value == 0 {
                break;
            }
        }
    }
}

impl List {
    fn push(&mut self, given: u64, real: u64) {
        self.given.push(given);
        self.real.push(real);
    }
}

/// `CL_EXTERNAL_MEMORY_HANDLE_*_KHR`: the handle is the property's value.
fn is_external(name: u64) -> bool {
    name == CL_MEM_DEVICE_HANDLE_LIST_KHR || (0x2060..=0x206F).contains(&name) || name == 0x2070
}

/// What `clCreateBufferWithProperties` and `clCreateImageWithProperties` may be asked for.
///
/// # Errors
/// `CL_INVALID_PROPERTY` for what is not offered; `CL_INVALID_DEVICE`.
pub fn of_memory(caller: &Caller, from: *const cl_mem_properties) -> CLResult<Properties> {
    let Some(list) = read(caller, from)? else {
        return Ok(Properties::default());
    };
    let mut properties = Properties::default();
    for &name in &list.names {
        properties.holds.push(if is_external(name) {
            obstacles::EXTERNAL_MEMORY.hold()
        } else if name == CL_MEM_DEVICE_PRIVATE_ADDRESS_EXT {
            obstacles::DEVICE_ADDRESS.hold()
        } else {
            return Err(CL_INVALID_PROPERTY);
        });
    }
    properties.given = list.given;
    properties.real = list.real;
    Ok(properties)
}
