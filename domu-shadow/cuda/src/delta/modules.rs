//! Loaded kernels, which stay loaded when an engine ends.
//!
//! Unloading a module may wait for the device. So it is done at the stop, when nothing runs, and a capture that ends while the program
//! goes on leaves the module to the next one.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex};

use runtime::delta::DriverError;
use runtime::delta::device::Result;
use runtime::locks::{self, lock};

use crate::abi::{CUfunction, CUmodule};
use crate::beside::home::{Home, call, complain};

/// The kernels' PTX.
const PTX: &str = concat!(include_str!("kernels.ptx"), "\0");

/// The kernels in one context.
#[derive(Debug)]
pub struct Module {
    home: Home,
    handle: CUmodule,
}

// SAFETY: modules belong to a context, not to a thread.
unsafe impl Send for Module {}

/// Those that no engine uses.
static KEPT: Mutex<Vec<Module>> = Mutex::new(Vec::new());

impl Module {
    /// The context's, loaded where none is kept.
    pub(super) fn get(home: &Home) -> std::result::Result<Module, DriverError> {
        let mut kept = lock(&KEPT);
        let is_homes = |module: &Module| Arc::ptr_eq(module.home.context(), home.context());
        if let Some(at) = kept.iter().position(is_homes) {
            return Ok(kept.swap_remove(at));
        }
        drop(kept);
        let _here = home.enter()?;
        let (mut handle, text) = (null_mut(), PTX.as_ptr().cast::<c_void>());
        call!(cuModuleLoadData(&raw mut handle, text))?;
        Ok(Module {
            home: home.clone(),
            handle,
        })
    }

    pub(super) fn function(&self, name: &std::ffi::CStr) -> Result<CUfunction> {
        let _here = self.home.enter()?;
        let mut function = null_mut();
        call!(cuModuleGetFunction(
            &raw mut function,
            self.handle,
            name.as_ptr()
        ))?;
        Ok(function)
    }

    /// No engine uses it any more.
    pub(super) fn keep(self) {
        lock(&KEPT).push(self);
    }
}

/// Unloads those that no engine uses. Waits for the devices.
pub fn unload() {
    for module in std::mem::take(&mut *lock(&KEPT)) {
        // A context takes its modules along.
        let Ok(_here) = module.home.enter() else {
            continue;
        };
        if let Err(error) = call!(cuModuleUnload(module.handle)) {
            complain("", &error);
        }
    }
}

/// The lock, for a fork.
pub fn hold() -> Option<impl Sized> {
    locks::try_lock(&KEPT)
}
