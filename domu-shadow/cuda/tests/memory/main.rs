//! Memory through our functions, over the stub: what a program sees before and after it has been away.
//!
//! Each test is a process of its own: the driver's library and its options are a process's.

mod contexts;
mod ordinary;
mod program;
mod shared;
mod storm;
mod virtual_memory;
