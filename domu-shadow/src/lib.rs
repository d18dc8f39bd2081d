//! The OpenCL shadow library.
//!
//! Preloaded under the name `libOpenCL.so.1` it takes the ICD loader's place. The program holds handles of shadow
//! objects; the real ones, the driver's, can be captured, released, unloaded and made again on another GPU while
//! the program waits at the gate and notices nothing.
//!
//! | module | purpose |
//! |---|---|
//! | [`exports`] | the 134 symbols and their version nodes |
//! | `api` | the C surface: one small file per chapter of the specification |
//! | `core` | the shadow objects and their handles |
//! | [`delta`] | finding which chunks of buffers changed, on the device |
//! | `driver` | finding, loading, calling and unloading the vendors' drivers |
//! | `gate` | what every call passes and a move closes |
//! | `fork` | what a child of `fork` gets |
//! | `leaving` | the program's exit, and the steps of a move |
//! | `reserve` | room that the way back needs, held meanwhile |
//! | `callbacks` | the program's callbacks, off the driver's threads |
//! | [`mover`] | capture, unload, reload, restore: what a session uses |
//! | [`session`] | the session's thread |
//! | [`storm`] | test mode: the process moves itself, again and again |

mod api;
mod callbacks;
mod core;
pub mod delta;
#[doc(hidden)]
pub mod driver;
pub mod exports;
mod fork;
mod gate;
mod laps;
#[doc(hidden)]
pub mod leaving;
pub mod mover;
mod reserve;
pub mod session;
mod start;
pub mod storm;
mod thread_word;
