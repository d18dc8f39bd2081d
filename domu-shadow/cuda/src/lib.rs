//! CUDA as one of the process's GPU APIs: the driver API in front of NVIDIA's library.
//!
//! | room | purpose |
//! |---|---|
//! | [`abi`] | types and constants of `cuda.h` |
//! | [`driver`] | NVIDIA's library, and the functions of it that are called here |
//! | [`api`] | the functions that are ours |
//! | [`core`] | contexts and memory of the program's, and what keeps it from moving |

pub mod abi;
pub mod api;
pub mod core;
pub mod driver;
