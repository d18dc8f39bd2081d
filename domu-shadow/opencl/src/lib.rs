//! OpenCL for programs that move.
//!
//! The program holds handles of shadow objects; the real ones, the driver's, can be captured, released, unloaded and made again on
//! another GPU while the program waits at the gate and notices nothing.
//!
//! | room | purpose |
//! |---|---|
//! | [`api`] | the C surface: one small file per chapter of the specification |
//! | [`table`] | all its functions, as an ICD's dispatch table |
//! | `core` | the shadow objects and their handles |
//! | [`driver`] | finding, calling and querying the vendors' drivers |
//! | [`delta`] | the kernels that find what changed, and the objects they work with |
//! | `mover` | what a move needs of OpenCL: [`runtime::gpu_api`] |

pub mod api;
mod core;
pub mod delta;
#[doc(hidden)]
pub mod driver;
mod mover;
pub mod table;

/// What an API function answers: a value, or one of the specification's error codes.
pub type CLResult<T> = Result<T, opencl_sys::cl_int>;
