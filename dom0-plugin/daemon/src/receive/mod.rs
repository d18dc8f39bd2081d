//! The restoring side: the GPU part of a stream, on its way in.
//!
//! The daemon reads the records from the stream itself, never past the first header that is not ours. A phase is a type
//! that the next one is made of: receiving, sealed, kept. Images are kept apart until the toolstack says that the domain
//! is whole.

pub mod conversation;
pub mod error;
pub mod images;
pub mod receiving;
pub mod sealed;
