//! Finding exactly which 4 KiB chunks of GPU buffers changed, on the GPU itself.
//!
//! ```text
//!   buffer ──detect──> flags ──read──> host: plan ──entries──┐
//!     │         │ compare                                    v
//!     │      [table]  <──────── digest of the copy ────── gather ──> staging ──read──> the sink's memory
//!     └──────────────────────────────────────────────────────┘
//! ```
//!
//! The engine works on the driver's own objects, by way of a [`device::Device`]. For each tracked buffer the device
//! keeps a *table*: the digest of each chunk as it was last handed to the sink. A *pass* hashes candidates where
//! they lie, copies what differs into staging memory, puts the digest of **that copy** into the table, and reads
//! the staging memory straight into places the sink offers. The table always describes exactly the bytes sent, so a
//! program may write all the while: what a pass misses the next one finds.
//!
//! | module | purpose |
//! |---|---|
//! | [`digest`] | the digest's reference implementation and its keys |
//! | [`device`] | what a pass has a device do |
//! | [`engine`], [`config`] | tracked buffers, and sizes |
//! | [`chunk`], `plan` | the grain; dividing candidates into segments, flags into runs |
//! | [`window`] | runs into pieces, pieces into staging windows |
//! | [`pass`] | the pipeline |
//! | [`sink`] | where changed chunks go |

pub mod chunk;
pub mod config;
pub mod device;
pub mod digest;
pub mod engine;
pub mod pass;
mod plan;
pub mod sink;
pub mod window;

pub use chunk::CHUNK_BYTES;
pub use config::Config;
pub use device::DriverError;
pub use digest::{ChunkDigest, Secret};
pub use engine::DeltaError;
pub use pass::{Estimate, PassOptions, PassReport};
pub use sink::{Extent, ExtentKind, FilledPlace, Place, Sink};
