//! What a move needs of CUDA.
//!
//! | room | purpose |
//! |---|---|
//! | `api` | CUDA as one of the process's APIs |
//! | `capture` | what a round lists, and the steps of a move |
//! | `comparing` | the delta engines of a capture |
//! | `lanes` | reading and writing contents beside the program |
//! | `rest` | coming to rest |
//! | [`checkpoint`] | the driver's state, taken off the GPU and brought back |
//! | [`gpus`] | the GPUs that the driver had, and those that are here |

mod api;
mod capture;
pub mod checkpoint;
mod comparing;
mod error;
pub mod gpus;
mod lanes;
mod rest;
