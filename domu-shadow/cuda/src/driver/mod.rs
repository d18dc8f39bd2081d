//! NVIDIA's `libcuda.so.1`, behind ours.
//!
//! | room | purpose |
//! |---|---|
//! | [`functions`] | the functions of it that are called here |

pub mod functions;
