//! Kernels.
//!
//! | room | purpose |
//! |---|---|
//! | `object` | [`Kernel`] |
//! | [`arg`], [`arg_kind`] | an argument as the program set it; what the kernel takes there |
//! | `kept_arg`, [`launch`] | the arguments of one moment; a kernel with them, as it was enqueued |

pub mod arg;
pub mod arg_kind;
mod kept_arg;
pub mod launch;
mod object;

pub use kept_arg::set_handle;
pub use object::{INDIRECT_ACCESS, Kernel, release};
