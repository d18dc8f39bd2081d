//! Modules' variables: the driver's checkpoint carries them, unless they are managed.

use std::ffi::{c_char, c_int, c_uint};

use crate::abi::*;
use crate::core::counted::Variable;
use crate::core::current;
use crate::core::entry::own;
use crate::core::obstacles::MANAGED_VARIABLE;
use crate::core::state::state;
use crate::driver::functions::driver;
use crate::driver::vm::check;

fn is_managed(at: CUdeviceptr) -> bool {
    // The driver writes a byte or an integer, by its version.
    let mut is_managed: c_int = 0;
    let data = (&raw mut is_managed).cast();
    let attribute = CU_POINTER_ATTRIBUTE_IS_MANAGED;
    let code = unsafe { driver().cuPointerGetAttribute(data, attribute, at) };
    code == CUDA_SUCCESS && is_managed != 0
}

/// `context`: 0 for a variable that goes with no context.
fn found(module: usize, at: CUdeviceptr, bytes: u64, context: usize) {
    let hold = is_managed(at).then(|| MANAGED_VARIABLE.hold());
    let variable = Variable { bytes, hold };
    state()
        .counted
        .variables
        .add((module, at), context, variable);
}

/// What the program leaves out the driver does not write.
fn read<T: Copy>(at: *const T) -> Option<T> {
    (!at.is_null()).then(|| unsafe { at.read() })
}

own! {
    fn cuModuleGetGlobal_v2(
        at: *mut CUdeviceptr,
        bytes: *mut usize,
        module: CUmodule,
        name: *const c_char,
    ) driver {
        check(unsafe { driver().cuModuleGetGlobal_v2(at, bytes, module, name) })?;
        if let Some(at) = read(at) {
            let bytes = read(bytes).unwrap_or(0) as u64;
            found(module as usize, at, bytes, current::handle());
        }
        Ok(())
    }

    fn cuModuleGetGlobal(
        at: *mut c_uint,
        bytes: *mut c_uint,
        module: CUmodule,
        name: *const c_char,
    ) driver {
        check(unsafe { driver().cuModuleGetGlobal(at, bytes, module, name) })?;
        if let Some(at) = read(at) {
            let bytes = read(bytes).unwrap_or(0).into();
            found(module as usize, at.into(), bytes, current::handle());
        }
        Ok(())
    }

    fn cuLibraryGetGlobal(
        at: *mut CUdeviceptr,
        bytes: *mut usize,
        library: CUlibrary,
        name: *const c_char,
    ) driver {
        check(unsafe { driver().cuLibraryGetGlobal(at, bytes, library, name) })?;
        if let Some(at) = read(at) {
            found(library as usize, at, read(bytes).unwrap_or(0) as u64, 0);
        }
        Ok(())
    }

    fn cuLibraryGetManaged(
        at: *mut CUdeviceptr,
        bytes: *mut usize,
        library: CUlibrary,
        name: *const c_char,
    ) driver {
        let hold = MANAGED_VARIABLE.hold();
        check(unsafe { driver().cuLibraryGetManaged(at, bytes, library, name) })?;
        let variable = Variable {
            bytes: read(bytes).unwrap_or(0) as u64,
            hold: Some(hold),
        };
        let name = (library as usize, read(at).unwrap_or(0));
        state().counted.variables.add(name, 0, variable);
        Ok(())
    }

    fn cuModuleUnload(module: CUmodule) driver {
        check(unsafe { driver().cuModuleUnload(module) })?;
        state().counted.unloaded(module as usize);
        Ok(())
    }

    fn cuLibraryUnload(library: CUlibrary) driver {
        check(unsafe { driver().cuLibraryUnload(library) })?;
        state().counted.unloaded(library as usize);
        Ok(())
    }
}
