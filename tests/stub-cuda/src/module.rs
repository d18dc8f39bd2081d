//! Modules: PTX with its variables in a context's memory, and the functions in it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use crate::abi::*;
use crate::lock::lock;
use crate::memory::ordinary;
use crate::memory::space::{self, Kind, Viewer};
use crate::ptx::{self, Initial, Kernel, Space, Value, Variable};
use crate::table::{self, Table};

pub struct Module {
    pub handle: Handle,
    pub context: Handle,
    /// Address and size.
    variables: HashMap<String, (u64, u64)>,
    functions: BTreeMap<String, Arc<Function>>,
}

pub struct Function {
    pub handle: Handle,
    pub module: Handle,
    pub context: Handle,
    pub kernel: Arc<Kernel>,
    /// For `cuFuncGetName`.
    pub name: std::ffi::CString,
    /// Those that were set.
    pub attributes: Mutex<BTreeMap<u32, i32>>,
}

static MODULES: Table<Module> = Table::new();
static FUNCTIONS: Table<Function> = Table::new();

/// Why a module cannot be loaded.
pub struct Refused {
    pub code: CUresult,
    pub log: String,
}

/// Reads PTX.
///
/// # Errors
/// `CUDA_ERROR_NO_BINARY_FOR_GPU` for what is something else, `CUDA_ERROR_INVALID_PTX`.
pub fn read(image: &[u8]) -> Result<ptx::Module, Refused> {
    let text = std::str::from_utf8(image)
        .ok()
        .filter(|text| text.contains(".version"));
    let Some(text) = text else {
        return Err(Refused {
            code: if image.starts_with(b"\x7fELF") {
                CUDA_ERROR_NO_BINARY_FOR_GPU
            } else {
                CUDA_ERROR_INVALID_IMAGE
            },
            log: "not PTX".to_owned(),
        });
    };
    ptx::parse(text).map_err(|log| Refused {
        code: CUDA_ERROR_INVALID_PTX,
        log,
    })
}

/// Puts a module into a context.
///
/// # Errors
/// `CUDA_ERROR_INVALID_PTX`, `CUDA_ERROR_OUT_OF_MEMORY`.
pub fn load(context: Handle, device: usize, parsed: &ptx::Module) -> Result<Arc<Module>, Refused> {
    let handle = table::new_handle();
    let variables = allocate(context, device, parsed).map_err(|code| Refused {
        code,
        log: String::new(),
    })?;
    let addresses = variables
        .iter()
        .map(|(name, (address, _))| (name.clone(), *address))
        .collect();
    let mut module = Module {
        handle,
        context,
        variables,
        functions: BTreeMap::new(),
    };
    for entry in parsed.functions.iter().filter(|function| function.is_entry) {
        match ptx::decode(parsed, entry, &addresses) {
            Ok(kernel) => {
                let function = Arc::new(Function {
                    handle: table::new_handle(),
                    module: handle,
                    context,
                    name: std::ffi::CString::new(kernel.name.clone()).unwrap_or_default(),
                    kernel: Arc::new(kernel),
                    attributes: Mutex::default(),
                });
                module.functions.insert(entry.name.clone(), function);
            }
            Err(log) => {
                module.free();
                return Err(Refused {
                    code: CUDA_ERROR_INVALID_PTX,
                    log,
                });
            }
        }
    }
    for function in module.functions.values() {
        FUNCTIONS.insert(function.handle, function.clone());
    }
    let module = Arc::new(module);
    MODULES.insert(handle, module.clone());
    Ok(module)
}

fn allocate(
    context: Handle,
    device: usize,
    parsed: &ptx::Module,
) -> Outcome<HashMap<String, (u64, u64)>> {
    let mut variables = HashMap::new();
    let in_memory = |variable: &&Variable| matches!(variable.space, Space::Global | Space::Const);
    let result = parsed
        .variables
        .iter()
        .filter(in_memory)
        .try_for_each(|variable| {
            let size = variable.size.max(1);
            let address = ordinary::allocate(context, device, size, Kind::Global)?;
            variables.insert(variable.name.clone(), (address, variable.size));
            Ok(())
        });
    let result = result.and_then(|()| {
        let mut all = parsed.variables.iter().filter(in_memory);
        all.try_for_each(|variable| fill(variable, &variables))
    });
    match result {
        Ok(()) => Ok(variables),
        Err(code) => {
            free(&variables);
            Err(code)
        }
    }
}

fn fill(variable: &Variable, variables: &HashMap<String, (u64, u64)>) -> Outcome<()> {
    let (address, size) = variables[&variable.name];
    let mut bytes = vec![0_u8; size as usize];
    for Initial {
        offset,
        size,
        value,
    } in &variable.initial
    {
        let bits = match value {
            Value::Bits(bits) => *bits,
            Value::Address(name, addend) => {
                let (address, _) = variables.get(name).ok_or(CUDA_ERROR_INVALID_PTX)?;
                address.wrapping_add_signed(*addend)
            }
        };
        let at = *offset as usize;
        let size = usize::from(*size);
        bytes[at..at + size].copy_from_slice(&bits.to_le_bytes()[..size]);
    }
    let mut at = 0;
    for piece in space::pieces(address, size, Viewer::Any, true)? {
        let to = std::ptr::with_exposed_provenance_mut::<u8>(piece.pointer);
        // SAFETY: the piece is memory while it lives; nobody else knows the variable yet.
        unsafe { std::ptr::copy(bytes[at..].as_ptr(), to, piece.size) };
        at += piece.size;
    }
    Ok(())
}

fn free(variables: &HashMap<String, (u64, u64)>) {
    for (address, _) in variables.values() {
        let _ = ordinary::free(*address, |kind| kind == Kind::Global);
    }
}

/// # Errors
/// `CUDA_ERROR_INVALID_HANDLE`.
pub fn get(module: Handle) -> Outcome<Arc<Module>> {
    MODULES.get(module).ok_or(CUDA_ERROR_INVALID_HANDLE)
}

/// # Errors
/// `CUDA_ERROR_INVALID_HANDLE`.
pub fn function(handle: Handle) -> Outcome<Arc<Function>> {
    FUNCTIONS.get(handle).ok_or(CUDA_ERROR_INVALID_HANDLE)
}

/// # Errors
/// `CUDA_ERROR_INVALID_HANDLE`.
pub fn unload(module: Handle) -> Outcome<()> {
    let module = MODULES.remove(module).ok_or(CUDA_ERROR_INVALID_HANDLE)?;
    module.free();
    Ok(())
}

/// Unloads those of a context.
pub fn unload_all(context: Handle) {
    let own = MODULES
        .all()
        .into_iter()
        .filter(|module| module.context == context);
    for module in own {
        let _ = unload(module.handle);
    }
}

impl Module {
    fn free(&self) {
        for function in self.functions.values() {
            FUNCTIONS.remove(function.handle);
        }
        free(&self.variables);
    }

    /// # Errors
    /// `CUDA_ERROR_NOT_FOUND`.
    pub fn function(&self, name: &str) -> Outcome<Arc<Function>> {
        self.functions
            .get(name)
            .cloned()
            .ok_or(CUDA_ERROR_NOT_FOUND)
    }

    pub fn functions(&self) -> Vec<Handle> {
        self.functions
            .values()
            .map(|function| function.handle)
            .collect()
    }

    /// Address and size of a variable.
    ///
    /// # Errors
    /// `CUDA_ERROR_NOT_FOUND`.
    pub fn variable(&self, name: &str) -> Outcome<(u64, u64)> {
        self.variables
            .get(name)
            .copied()
            .ok_or(CUDA_ERROR_NOT_FOUND)
    }
}

/// Bytes of shared memory that a block may have without asking for more.
const SHARED: i32 = 48 << 10;
/// Bytes that it may ask for.
const MOST_SHARED: i32 = 227 << 10;

const MAX_DYNAMIC_SHARED: u32 = 8;
const CARVEOUT: u32 = 9;

impl Function {
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE`.
    pub fn attribute(&self, attribute: u32) -> Outcome<i32> {
        if let Some(value) = lock(&self.attributes).get(&attribute) {
            return Ok(*value);
        }
        Ok(match attribute {
            0 => self.kernel.max_threads as i32,
            1 => self.kernel.shared as i32,
            3 => self.kernel.local as i32,
            4 => 32,
            5 | 6 => 90,
            MAX_DYNAMIC_SHARED => SHARED - self.kernel.shared as i32,
            CARVEOUT => -1,
            2 | 7 | 10..=16 => 0,
            _ => return Err(CUDA_ERROR_INVALID_VALUE),
        })
    }

    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE`.
    pub fn set_attribute(&self, attribute: u32, value: i32) -> Outcome<()> {
        let is_good = match attribute {
            MAX_DYNAMIC_SHARED => (0..=MOST_SHARED - self.kernel.shared as i32).contains(&value),
            CARVEOUT => (-1..=100).contains(&value),
            11..=15 => true,
            _ => false,
        };
        if !is_good {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        lock(&self.attributes).insert(attribute, value);
        Ok(())
    }

    /// Most bytes of shared memory that a launch may give.
    pub fn most_dynamic_shared(&self) -> u32 {
        self.attribute(MAX_DYNAMIC_SHARED).unwrap_or(0).max(0) as u32
    }
}
