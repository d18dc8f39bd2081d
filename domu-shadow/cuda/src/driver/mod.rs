//! NVIDIA's `libcuda.so.1`, behind ours.
//!
//! | room | purpose |
//! |---|---|
//! | [`library`] | finding and opening it |
//! | [`functions`] | the functions of it that are called here |

pub mod functions;
pub mod library;
