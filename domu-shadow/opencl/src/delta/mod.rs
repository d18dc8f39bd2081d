//! Finding what changed ([`runtime::delta`]) with OpenCL's means.
//!
//! | room | purpose |
//! |---|---|
//! | `device` | the driver's objects, owned |
//! | `kernels` | building and launching the two kernels of `kernels.cl` |
//! | `self_test` | whether the device's compiler made the right thing of them |
//! | [`engine`] | what passes work with on a device |

mod device;
pub mod engine;
mod kernels;
mod self_test;
mod unavailable;

pub use engine::Engine;
#[doc(hidden)]
pub use kernels::SOURCE;
pub use unavailable::Unavailable;
