//! CUDA as one of the process's GPU APIs: the driver API in front of NVIDIA's library.
//!
//! | room | purpose |
//! |---|---|
//! | [`abi`] | types and constants of `cuda.h` |
//! | [`driver`] | NVIDIA's library, and the functions of it that are called here |
//! | [`core`] | contexts and memory of the program's, and what keeps it from moving |
//! | [`api`] | the functions that are ours |
//! | [`front`] | what programs find |
//! | [`beside`] | calls of ours beside the program's |
//! | [`delta`] | finding what changed |
//! | [`mover`] | what a move needs of it |

pub mod abi;
pub mod api;
pub mod beside;
pub mod core;
pub mod delta;
pub mod driver;
pub mod front;
pub mod mover;
