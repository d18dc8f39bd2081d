//! A `libcuda.so.1` that has no functions, but needs `libOpenCL.so.1` beside it: the shadow library, which has those of both.
//!
//! Whoever opens it, links it or preloads it gets the one shadow library of the process, and finds CUDA's functions there.

/// As `runtime::vendor::note` has it: this file is none of a vendor's.
#[used]
#[unsafe(link_section = ".note.xl-gpu")]
static NOTE: ([u32; 3], [u8; 8]) = ([7, 0, 1], *b"xl-gpu\0\0");
