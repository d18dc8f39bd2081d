//! Libraries: modules that are in every context that uses them.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex};

use crate::abi::*;
use crate::lock::lock;
use crate::module::{self, Function, Module, Refused};
use crate::ptx;
use crate::table::{self, Table};

pub struct Library {
    parsed: ptx::Module,
    kernels: BTreeMap<String, Handle>,
    /// By context.
    modules: Mutex<BTreeMap<Handle, Arc<Module>>>,
}

pub struct Kernel {
    pub library: Handle,
    pub name: String,
    pub c_name: CString,
}

static LIBRARIES: Table<Library> = Table::new();
static KERNELS: Table<Kernel> = Table::new();

/// # Errors
/// As [`module::read`].
pub fn load(image: &[u8]) -> Result<Handle, Refused> {
    let parsed = module::read(image)?;
    let handle = table::new_handle();
    let mut kernels = BTreeMap::new();
    for entry in parsed.functions.iter().filter(|function| function.is_entry) {
        let kernel = table::new_handle();
        let made = Kernel {
            library: handle,
            name: entry.name.clone(),
            c_name: CString::new(entry.name.clone()).unwrap_or_default(),
        };
        KERNELS.insert(kernel, Arc::new(made));
        kernels.insert(entry.name.clone(), kernel);
    }
    let library = Library {
        parsed,
        kernels,
        modules: Mutex::default(),
    };
    LIBRARIES.insert(handle, Arc::new(library));
    Ok(handle)
}

/// # Errors
/// `CUDA_ERROR_INVALID_HANDLE`.
pub fn get(library: Handle) -> Outcome<Arc<Library>> {
    LIBRARIES.get(library).ok_or(CUDA_ERROR_INVALID_HANDLE)
}

/// # Errors
/// `CUDA_ERROR_INVALID_HANDLE`.
pub fn kernel(kernel: Handle) -> Outcome<Arc<Kernel>> {
    KERNELS.get(kernel).ok_or(CUDA_ERROR_INVALID_HANDLE)
}

/// # Errors
/// `CUDA_ERROR_INVALID_HANDLE`.
pub fn unload(library: Handle) -> Outcome<()> {
    let library = LIBRARIES.remove(library).ok_or(CUDA_ERROR_INVALID_HANDLE)?;
    for kernel in library.kernels.values() {
        KERNELS.remove(*kernel);
    }
    for module in std::mem::take(&mut *lock(&library.modules)).into_values() {
        let _ = module::unload(module.handle);
    }
    Ok(())
}

impl Library {
    /// # Errors
    /// `CUDA_ERROR_NOT_FOUND`.
    pub fn kernel(&self, name: &str) -> Outcome<Handle> {
        self.kernels.get(name).copied().ok_or(CUDA_ERROR_NOT_FOUND)
    }

    pub fn kernels(&self) -> Vec<Handle> {
        self.kernels.values().copied().collect()
    }

    /// Its module in a context, which is made when it is first asked for.
    ///
    /// # Errors
    /// As [`module::load`].
    pub fn module(&self, context: Handle, device: usize) -> Outcome<Arc<Module>> {
        let mut modules = lock(&self.modules);
        if let Some(module) = modules.get(&context) {
            return Ok(module.clone());
        }
        let module = module::load(context, device, &self.parsed).map_err(|refused| refused.code)?;
        modules.insert(context, module.clone());
        Ok(module)
    }
}

impl Kernel {
    /// Its function in a context.
    ///
    /// # Errors
    /// As [`Library::module`].
    pub fn function(&self, context: Handle, device: usize) -> Outcome<Arc<Function>> {
        get(self.library)?
            .module(context, device)?
            .function(&self.name)
    }
}

/// The function that a handle of a function or of a kernel stands for in a context.
///
/// # Errors
/// `CUDA_ERROR_INVALID_HANDLE`.
pub fn function_of(handle: Handle, context: Handle, device: usize) -> Outcome<Arc<Function>> {
    match kernel(handle) {
        Ok(kernel) => kernel.function(context, device),
        Err(_) => module::function(handle),
    }
}
