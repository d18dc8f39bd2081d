//! The toy compiler: kernels are known by name and typed by their source.

pub mod known;
pub mod number;
pub mod parse;
pub mod run;
