//! What programs find: every function that NVIDIA's library exports.
//!
//! | room | purpose |
//! |---|---|
//! | [`exported`] | the functions that are not ours: through the gate and on to the driver's |
//! | [`lookup`] | `cuGetProcAddress`: the driver's answer, and ours in its place |
//! | [`unknown`] | functions of the driver's that nothing is known of |
//! | [`marks`] | functions that keep the process from moving |

pub mod exported;
pub mod lookup;
pub mod marks;
pub mod unknown;

use std::ffi::c_void;

use crate::driver::library;

runtime::at_load!(register);

/// NVIDIA's own libraries open `libcuda.so.1` by name, and are to get NVIDIA's. Where this fails, only they are affected, and there is no
/// log yet: they then find ours.
fn register() {
    let ours: *const c_void = register as *const c_void;
    let _ = runtime::vendor::fronts::register(library::NAME, ours);
}
