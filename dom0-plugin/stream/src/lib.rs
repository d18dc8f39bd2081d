//! GPU records in a libxc migration stream.
//!
//! ```text
//!  sender                                            receiver
//!  libxc headers, static data  ───────────────────▶  libxc
//!  HEAD  (mandatory)  ────────────────────────────▶  AwaitHead ─▶ Receiving   without the plugin: restore fails here
//!  DATA …  (optional)  between libxc's records  ───▶  Receiving    each checked, then put into the spool
//!  SEAL  (optional)  ─────────────────────────────▶  Sealed       totals and digest of all of it agree
//!  libxc END  ────────────────────────────────────▶  libxc        refused unless sealed
//! ```
//!
//! [`RecordWriter`] writes, [`RecordSender`] lets several threads do so and replaces repeated chunks by references.
//! [`RecordReader`] checks single records, [`Receiver`] checks their order and drives an [`ImageSink`]. The input is a peer's: memory is bounded and every error says where it happened.
//! `docs/stream-format.md` is the specification.

mod error;
mod fd;
mod known;
mod reader;
mod receiver;
mod sender;
mod travel;
pub mod verify;
mod wire;
mod writer;

pub use error::{RecordError, SealField, StreamError, WriteCause, WriteError};
pub use fd::StreamFd;
pub use fd::without_blocking;
pub use known::CHUNK;
pub use reader::{Data, Head, Record, RecordReader, Seal, StreamLimits};
pub use receiver::{AwaitHead, ImageSink, Receiver, Receiving, Sealed, Stream};
pub use sender::{RecordSender, SendError};
pub use wire::{
    ImageId, MAX_EXTENTS, MAX_PAYLOAD, MAX_SESSIONS, RecordHeader, STOP_ROUND, STREAM_VERSION,
    TYPE_DATA, TYPE_HEAD, TYPE_SEAL, Totals, is_gpu_type,
};
pub use writer::{DataRecord, RecordWriter, Travelled, Written};

#[cfg(test)]
mod tests;
