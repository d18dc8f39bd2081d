//! Programs: source or binary, built for all devices of the context at once.

use std::ffi::c_void;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opencl_sys::{
    CL_BUILD_ERROR, CL_BUILD_NONE, CL_BUILD_PROGRAM_FAILURE, CL_BUILD_SUCCESS,
    CL_INVALID_BUILD_OPTIONS, CL_INVALID_PROGRAM, CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT,
    CL_PROGRAM_BINARY_TYPE_EXECUTABLE, CL_PROGRAM_BINARY_TYPE_LIBRARY, CL_PROGRAM_BINARY_TYPE_NONE,
    cl_int,
};

use super::context::Context;
use super::device::Device;
use crate::binary;
use crate::callback::Notify;
use crate::ffi::CLResult;
use crate::handle::{self, Object, Slot};
use crate::kernels::known;
use crate::kernels::parse::{self, Signature};

pub struct Program {
    pub slot: Slot,
    pub context: Arc<Context>,
    pub devices: Vec<Arc<Device>>,
    /// The source text; a binary holds it too, but does not show it.
    source: String,
    pub origin: Origin,
    build: Mutex<Build>,
    /// Kernel objects that exist.
    pub kernels: AtomicUsize,
    pub destructors: Mutex<Vec<Notify>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Source,
    Binary,
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
            build,
            kernels,
            destructors: Mutex::default(),
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
        program.build().kind = content.kind;
        program
    }

    pub fn build(&self) -> MutexGuard<'_, Build> {
        self.build.lock().unwrap_or_else(PoisonError::into_inner)
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
        let checked = check_options(options).and_then(|()| self.parse());
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
                };
                Ok(())
            }
            Err((code, log)) => {
                build.status = CL_BUILD_ERROR;
                build.log = log;
                build.kernels = Arc::default();
                Err(if code == CL_BUILD_PROGRAM_FAILURE {
                    failure
                } else {
                    code
                })
            }
        }
    }

    fn parse(&self) -> Result<Vec<Signature>, (cl_int, String)> {
        let kernels =
            parse::kernels(&self.source).map_err(|log| (CL_BUILD_PROGRAM_FAILURE, log))?;
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

    /// Links objects and libraries; the result's source is all of theirs.
    pub fn link(
        context: &Arc<Context>,
        devices: Vec<Arc<Device>>,
        parts: &[Arc<Program>],
    ) -> Arc<Program> {
        let source = parts
            .iter()
            .map(|part| part.source.as_str())
            .collect::<Vec<_>>()
            .join("\n");
        Self::new(context.clone(), devices, source, Origin::Link)
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
                source: self.source.clone(),
            },
        )
    }

    /// Whether `clGetKernelArgInfo` may answer: "only available if the program object associated with kernel is created
    /// with `clCreateProgramWithSource` and the program executable was built with the -cl-kernel-arg-info option".
    pub fn has_arg_info(&self) -> bool {
        self.origin != Origin::Binary
            && self
                .build()
                .options
                .split_whitespace()
                .any(|o| o == "-cl-kernel-arg-info")
    }

    pub fn handle(&self) -> *mut c_void {
        self.slot.handle()
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
        let callbacks = std::mem::take(
            &mut *self
                .destructors
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        callbacks
            .into_iter()
            .rev()
            .for_each(|notify| notify.call(self.slot.handle()));
    }
}
