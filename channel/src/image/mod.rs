//! The image of a GPU session: what leaves the guest through dom0.
//!
//! A guest's RAM travels with the domain, so only the *contents* of GPU buffers and a small manifest have to
//! be carried. They travel in one encoding everywhere, in slots of the shared area, in the records of a
//! migration stream and in the file `xl-gpu stream verify` reads: the **batch**.
//!
//! ```text
//!     batch payload                                batch table (48 octets an extent, little-endian)
//!    +-------------+---+-----------------+        +--------+--------+--------+--------+
//!    | bytes of e0 |pad| bytes of e2     |        | e0 data| e1 zero| e2 data| e3 drop|
//!    +-------------+---+-----------------+        +--------+--------+--------+--------+
//! ```
//!
//! Each data extent's bytes start at a multiple of [`PAYLOAD_ALIGN`]; zero and drop extents have no bytes, and a copy
//! extent, which streams alone may have, names the place where its bytes stand already.
//! Extents are applied in table order. `docs/stream-format.md` has the octet diagrams.
//!
//! Everything here is safe Rust over private memory: a caller copies payload and table out of shared memory
//! first, and [`Batch::parse`] believes nothing of what it finds.

#![forbid(unsafe_code)]

mod batch;
mod builder;
mod digest;
mod extent;
mod key;
mod manifest;
mod object;

pub use batch::{Batch, BatchError, BatchLimits};
pub use builder::{BatchBuilder, BatchLayout, Placement};
pub use digest::{Digest, DigestStream};
pub use extent::{
    CopySource, EXTENT_BYTES, Extent, ExtentKind, PAYLOAD_ALIGN, RawExtent, payload_start,
};
pub use key::{BadSessionId, SessionId, SessionKey};
pub use manifest::{
    BufferEntry, DeviceEntry, MANIFEST_MINOR, MANIFEST_OBJECT, MANIFEST_VERSION,
    MAX_MANIFEST_BYTES, Manifest, ManifestError,
};
pub use object::{Api, ObjectId};

#[cfg(test)]
mod tests;
