//! Checking a saved or recorded domain offline: what `xl-gpu stream verify FILE` does.
//!
//! ```text
//!  xl save file     xl header, configuration ┐
//!  libxl stream       libxl header, records  ├ LIBXC_CONTEXT ┐
//!  libxc stream         image header, domain header, records ┴ GPU records among them, to END
//! ```
//!
//! Each of the three may be where the input starts; a recorded `xl migrate` starts as a save file does and
//! ends with xl's handshake. Every byte up to END is read. Domain memory is passed over, GPU records get all
//! the checks a receiver makes, and the manifests are compared with the objects that came.

mod container;
mod error;
mod input;
mod report;
mod sink;

pub use error::{VerifyError, VerifyFault};
pub use report::{Container, GpuReport, LibxcReport, Report, RoundCounts, SessionReport};

use std::io::Read;

/// Verifies a stream from its first byte on.
///
/// The report says what was found; [`Report::gpu`] is `None` for a domain without GPU records, which is no
/// error. The first thing wrong is the error, with its offset in the input.
pub fn verify(from: impl Read) -> Result<Report, VerifyError> {
    container::walk(&mut input::Input::new(from))
}

#[cfg(test)]
mod tests;
