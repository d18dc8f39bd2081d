//! What a program says when it is asked for its version.

/// The package's version and what it was built from: `0.1.0 (3710f9b4271c)`. What it was built from is what `XL_GPU_BUILD`
/// said then, or else the commit; in a debug build, which is not made anew for each commit, `debug`.
pub const VERSION: &str = env!("XL_GPU_VERSION");
