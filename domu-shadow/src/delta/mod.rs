//! Finding exactly which 4 KiB chunks of GPU buffers changed, on the GPU itself.
//!
//! ```text
//!   buffer ──detect──> flags ──read──> host: plan ──entries──┐
//!     │         │ compare                                    v
//!     │      [table]  <──────── digest of the copy ────── gather ──> staging ──read──> the sink's memory
//!     └──────────────────────────────────────────────────────┘
//! ```
//!
//! The engine works on the driver's own objects and knows no shadow object. For each tracked buffer the device
//! keeps a *table*: the digest of each chunk as it was last handed to the sink. A *pass* hashes candidates where
//! they lie, copies what differs into staging memory, puts the digest of **that copy** into the table, and reads
//! the staging memory straight into places the sink offers. The table always describes exactly the bytes sent, so a
//! program may write all the while: what a pass misses the next one finds.
//!
//! | module | purpose |
//! |---|---|
//! | [`digest`] | the digest's reference implementation and its keys |
//! | `device` | the driver's objects, owned |
//! | `kernels` | building and launching the two kernels of `kernels.cl` |
//! | `proof` | whether the device's compiler made the right thing of them |
//! | [`engine`] | tracked buffers and their tables |
//! | `plan` | dividing candidates into segments, flags into runs |
//! | `window` | runs into pieces, pieces into staging windows |
//! | `pass` | the pipeline |
//! | [`sink`] | where changed chunks go |

mod device;
pub mod digest;
pub mod engine;
mod kernels;
mod pass;
mod plan;
mod proof;
pub mod sink;
mod window;

pub use device::DriverError;
pub use digest::{ChunkDigest, Secret};
pub use engine::{Config, DeltaError, Engine, Unavailable};
#[doc(hidden)]
pub use kernels::SOURCE;
pub use pass::{Estimate, PassOptions, PassReport};
pub use sink::{Extent, ExtentKind, Piece, Place, Sink, SinkError};

/// The grain: bytes of a chunk. The last chunk of a buffer may be shorter.
pub const CHUNK_BYTES: usize = 4096;
