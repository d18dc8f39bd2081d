//! The shared library that programs load: preloaded under the name `libOpenCL.so.1` it takes the ICD loader's place.
//!
//! Everything it does is in the crates below; here are the names that programs find, with their versions.

pub mod exports;
