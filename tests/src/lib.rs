//! What the end-to-end tests share: the built parts, a daemon, OpenCL programs under the shadow library.

pub mod built;
pub mod host;
