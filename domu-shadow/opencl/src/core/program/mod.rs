//! Programs.
//!
//! | room | purpose |
//! |---|---|
//! | `object` | [`Program`]: where it came from, and what was done with it |
//! | [`build`] | what the program has built |
//! | [`link`] | what it has linked |
//! | `compiler`, `build_callback`, [`build_info`] | the driver's compiler and linker, and what the driver says of a build |
//! | [`arg_info_option`], `without_arg_info` | argument info that only we asked for, and the program without it |
//! | [`signature`] | what a build tells of a kernel's arguments |
//! | `binaries`, `keep_binaries` | the driver's binaries, kept for a move |
//! | `recreate`, `rebuild` | making the driver's program again |
//! | `driver_program` | a driver's program of ours |

pub mod arg_info_option;
mod binaries;
pub mod build;
mod build_callback;
pub mod build_info;
pub mod compiler;
mod driver_program;
mod keep_binaries;
pub mod link;
mod object;
mod rebuild;
mod recreate;
pub mod signature;
mod without_arg_info;

pub use object::{Origin, Program, Step};
