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
