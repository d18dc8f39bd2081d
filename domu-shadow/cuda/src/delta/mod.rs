//! Finding what changed ([`runtime::delta`]) with CUDA's means.
//!
//! | room | purpose |
//! |---|---|
//! | `kernels` | the two kernels of `kernels.cu`, loaded and launched |
//! | `modules` | kernels that stay loaded until the program is at rest |
//! | `tables` | memory for tables of digests |
//! | `self_test` | whether the driver's compiler made the right thing of the kernels |
//! | [`engine`] | what passes work with on a device |

pub mod engine;
mod kernels;
pub mod modules;
mod self_test;
mod tables;
mod unavailable;

pub use engine::Engine;
pub use unavailable::Unavailable;
