//! NVIDIA's `libcuda.so.1`, behind ours.
//!
//! | room | purpose |
//! |---|---|
//! | `list` | every function that it exports, and what ours does before it |
//! | [`table`] | where the functions of the list are |
//! | [`library`] | finding and opening it |
//! | [`functions`] | the functions of it that are called here |
//! | [`vm`] | the memory calls among them, as a trait that tests can stand in for |

pub mod functions;
pub mod library;
pub(crate) mod list;
pub mod table;
pub mod vm;
