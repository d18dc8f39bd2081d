//! Programs: source, intermediate language or binary, built for all devices of the context at once.

use std::ffi::c_void;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard};

use opencl_sys::{
    CL_BUILD_ERROR, CL_BUILD_NONE, CL_BUILD_PROGRAM_FAILURE, CL_BUILD_SUCCESS,
    CL_INVALID_BUILD_OPTIONS, CL_INVALID_PROGRAM, CL_INVALID_SPEC_ID, CL_INVALID_VALUE,
    CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT, CL_PROGRAM_BINARY_TYPE_EXECUTABLE,
    CL_PROGRAM_BINARY_TYPE_LIBRARY, CL_PROGRAM_BINARY_TYPE_NONE, cl_int,
};

use super::context::Context;
use super::device::Device;
use crate::binary;
use crate::callback::Destructors;
use crate::ffi::CLResult;
use crate::handle::{self, Object, Slot};
use crate::il::{self, Constants};
use crate::kernels::known;
use crate::kernels::parse::{self, Signature};
use crate::lock::lock;
use crate::options;

pub struct Program {
    pub slot: Slot,
    pub context: Arc<Context>,
    pub devices: Vec<Arc<Device>>,
    /// The source text, or that of the intermediate language; a binary holds it too, but does not show it.
    source: String,
    /// Of the intermediate language, for the next build.
    constants: Mutex<Constants>,
    pub origin: Origin,
    build: Mutex<Build>,
    /// Kernel objects that exist.
    pub kernels: AtomicUsize,
    pub destructors: Destructors,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Source,
    /// `clCreateProgramWithIL`.
    Il,
    Binary,
    /// `clCreateProgramWithBuiltInKernels`: built from the start.
    BuiltIn,
    /// By `clLinkProgram`.
    Link,
}

/// The state of the last build.
#[derive(Clone, Debug)]
pub struct Build {
    pub status: cl_int,
    pub options: String,
    pub log: String,
    /// `CL_PROGRAM_BINARY_TYPE`.
    pub kind: u32,
    pub kernels: Arc<Vec<Arc<Signature>>>,
    /// The text it was built from.
    source: String,
    /// Compiled with argument info, or from a binary or objects that were.
    pub has_arg_info: bool,
}

impl Object for Program {
    const KIND: &'static str = "cl_program";
    const INVALID: cl_int = CL_INVALID_PROGRAM;
}

impl Default for Build {
    fn default() -> Self {
        Build {
            status: CL_BUILD_NONE,
            options: String::new(),
            log: String::new(),
            kind: CL_PROGRAM_BINARY_TYPE_NONE,
            kernels: Arc::default(),
            source: String::new(),
            has_arg_info: false,
        }
    }
}

impl Program {
    pub fn new(
        context: Arc<Context>,
        devices: Vec<Arc<Device>>,
        source: String,
        origin: Origin,
    ) -> Arc<Program> {
        let (build, kernels) = (Mutex::default(), AtomicUsize::new(0));
        let make = |slot| Program {
            slot,
            context,
            devices,
            source,
            origin,
            constants: Mutex::default(),
            build,
            kernels,
            destructors: Destructors::default(),
        };
        handle::publish(1, make)
    }

    /// From a binary, one per device; the first one counts, since all devices are of one make.
    pub fn of_binary(
        context: Arc<Context>,
        devices: Vec<Arc<Device>>,
        content: binary::Content,
    ) -> Arc<Program> {
        let program = Self::new(context, devices, content.source, Origin::Binary);
        // An executable binary still wants `clBuildProgram`, but has its type from the start.
        let mut build = program.build();
        build.kind = content.kind;
        build.has_arg_info = content.has_arg_info;
        build.source.clone_from(&program.source);
        drop(build);
        program
    }

    pub fn build(&self) -> MutexGuard<'_, Build> {
        lock(&self.build)
    }

    /// `CL_PROGRAM_SOURCE`: empty unless made from source.
    pub fn shown_source(&self) -> &str {
        if self.origin == Origin::Source {
            &self.source
        } else {
            ""
        }
    }

    /// Builds an executable (`clBuildProgram`), an object (`clCompileProgram`) or what `clLinkProgram` makes.
    pub fn compile(&self, options: &str, kind: u32, failure: cl_int) -> CLResult<()> {
        let source = self.specialized();
        let checked = check_options(options)
            .and_then(|()| assemble(&source, options, kind))
            .and_then(|()| parse(&source));
        let mut build = self.build();
        build.options = options.to_owned();
        match checked {
            Ok(kernels) => {
                *build = Build {
                    status: CL_BUILD_SUCCESS,
                    log: String::new(),
                    kind,
                    kernels: Arc::new(kernels.into_iter().map(Arc::new).collect()),
                    options: options.to_owned(),
                    source,
                    has_arg_info: match self.origin {
                        Origin::Binary | Origin::Link => build.has_arg_info,
                        _ => asks_arg_info(options),
                    },
                };
                Ok(())
            }
            Err((code, log)) => {
                build.status = CL_BUILD_ERROR;
                if !options::in_force().logs_add_up {
                    build.log.clear();
                }
                build.log.push_str(&log);
                build.kernels = Arc::default();
                Err(if code == CL_BUILD_PROGRAM_FAILURE {
                    failure
                } else {
                    code
                })
            }
        }
    }

    /// The source text with its specialization constants.
    fn specialized(&self) -> String {
        let constants = lock(&self.constants);
        let special = match self.origin {
            Origin::Il => il::specialize(&self.source, &constants),
            _ => None,
        };
        special.unwrap_or_else(|| self.source.clone())
    }

    /// `clSetProgramSpecializationConstant`.
    pub fn specialize(&self, id: u32, value: Option<[u8; 4]>) -> CLResult<()> {
        if self.origin != Origin::Il {
            return Err(CL_INVALID_PROGRAM);
        }
        if !il::has(&self.source, id) {
            return Err(CL_INVALID_SPEC_ID);
        }
        let value = u32::from_ne_bytes(value.ok_or(CL_INVALID_VALUE)?);
        lock(&self.constants).insert(id, value);
        Ok(())
    }

    /// `CL_PROGRAM_IL`.
    pub fn shown_il(&self) -> Vec<u8> {
        match self.origin {
            Origin::Il => il::write(&self.source),
            _ => Vec::new(),
        }
    }

    /// Links objects and libraries; the result's source is all of theirs.
    pub fn link(
        context: &Arc<Context>,
        devices: Vec<Arc<Device>>,
        parts: &[Arc<Program>],
    ) -> Arc<Program> {
        let source = parts
            .iter()
            .map(|part| part.build().source.clone())
            .collect::<Vec<_>>()
            .join("\n");
        let linked = Self::new(context.clone(), devices, source, Origin::Link);
        linked.build().has_arg_info = parts.iter().any(|part| part.build().has_arg_info);
        linked
    }

    /// Whether kernels can be made of it.
    pub fn is_executable(&self) -> bool {
        let build = self.build();
        build.status == CL_BUILD_SUCCESS && build.kind == CL_PROGRAM_BINARY_TYPE_EXECUTABLE
    }

    /// Whether it can be linked.
    pub fn is_linkable(&self) -> bool {
        let kind = self.build().kind;
        kind == CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT || kind == CL_PROGRAM_BINARY_TYPE_LIBRARY
    }

    /// The binary for a device; empty before a build.
    pub fn binary(&self, device: &Device) -> Vec<u8> {
        let build = self.build();
        if build.kind == CL_PROGRAM_BINARY_TYPE_NONE {
            return Vec::new();
        }
        binary::write(
            device,
            &binary::Content {
                kind: build.kind,
                source: build.source.clone(),
                has_arg_info: build.has_arg_info,
            },
        )
    }

    /// Whether `clGetKernelArgInfo` may answer: "only available if the program object associated with kernel is created
    /// with `clCreateProgramWithSource` and the program executable was built with the -cl-kernel-arg-info option".
    pub fn has_arg_info(&self) -> bool {
        match self.origin {
            Origin::Binary | Origin::BuiltIn => false,
            Origin::Link => self.build().has_arg_info,
            Origin::Source | Origin::Il => asks_arg_info(&self.build().options),
        }
    }

    pub fn handle(&self) -> *mut c_void {
        self.slot.handle()
    }
}

fn asks_arg_info(options: &str) -> bool {
    options
        .split_whitespace()
        .any(|option| option == "-cl-kernel-arg-info")
}

/// NVIDIA's compiler makes something of argument info for a kernel without arguments that calls `printf` which its
/// assembler does not take; the link does that for what is only compiled.
fn assemble(source: &str, options: &str, kind: u32) -> Result<(), (cl_int, String)> {
    let is_faulty = || {
        let kernels = parse::kernels(source).unwrap_or_default();
        kernels.iter().any(|kernel| kernel.parameters.is_empty()) && source.contains("printf")
    };
    let is_asked = options::in_force().build_refuses_arg_info && asks_arg_info(options);
    match is_asked && kind == CL_PROGRAM_BINARY_TYPE_EXECUTABLE && is_faulty() {
        true => Err((
            CL_BUILD_PROGRAM_FAILURE,
            "ptxas fatal: Parsing error near '}': syntax error".to_owned(),
        )),
        false => Ok(()),
    }
}

fn parse(source: &str) -> Result<Vec<Signature>, (cl_int, String)> {
    let kernels = parse::kernels(source).map_err(|log| (CL_BUILD_PROGRAM_FAILURE, log))?;
    let errors: Vec<String> = kernels
        .iter()
        .filter_map(|kernel| known::check(kernel).err())
        .collect();
    if errors.is_empty() {
        Ok(kernels)
    } else {
        Err((CL_BUILD_PROGRAM_FAILURE, errors.join("\n")))
    }
}

/// Options as a compiler for OpenCL C takes them.
fn check_options(options: &str) -> Result<(), (cl_int, String)> {
    match options
        .split_whitespace()
        .find(|option| *option == "-wrong" || option.starts_with("--"))
    {
        Some(option) => Err((
            CL_INVALID_BUILD_OPTIONS,
            format!("error: unknown option '{option}'"),
        )),
        None => Ok(()),
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.destructors.call(self.slot.handle());
    }
}
