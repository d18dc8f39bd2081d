//! NVIDIA's `libcuda.so.1`, behind ours.
//!
//! | room | purpose |
//! |---|---|
//! | [`library`] | finding and opening it |
//! | [`functions`] | the functions of it that are called here |
//! | [`vm`] | the memory calls among them, as a trait that tests can stand in for |

pub mod functions;
pub mod library;
pub mod vm;
