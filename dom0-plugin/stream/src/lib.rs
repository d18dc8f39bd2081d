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
//! The input is a peer's: memory is bounded and every error says where it happened. `docs/stream-format.md` is the
//! specification.
//!
//! | module | purpose |
//! |---|---|
//! | [`libxc`] | what we know of the stream around our records |
//! | `wire` | octets and limits of our records |
//! | `writer` | [`RecordWriter`]: records into a stream |
//! | `sender` | [`RecordSender`]: records from several threads, in order |
//! | `dedup`, `chunk_index` | repeated chunks become references |
//! | `reader` | [`RecordReader`]: single records, checked |
//! | `receiver` | [`Receiver`]: their order; drives an [`ImageSink`] |
//! | `stream_end` | [`StreamEnd`]: the descriptor, with a way out of a wait |
//! | [`verify`] | a saved domain, checked offline |
//! | `error` | what is wrong, and where |

mod chunk_index;
mod dedup;
mod error;
pub mod libxc;
mod reader;
mod receiver;
mod sender;
mod stream_end;
pub mod verify;
mod wire;
mod writer;

pub use chunk_index::CHUNK;
pub use error::{RecordError, SealField, StreamError, WriteCause, WriteError};
pub use libxc::RecordHeader;
pub use reader::{Data, Head, Record, RecordReader, Seal, StreamLimits};
pub use receiver::{AwaitHead, ImageSink, Receiver, Receiving, Sealed, Stream};
pub use sender::{Broken, RecordSender, SendError};
pub use stream_end::StreamEnd;
pub use wire::{
    ImageId, MAX_EXTENTS, MAX_PAYLOAD, MAX_SESSIONS, NOTICE_OBJECT, STOP_ROUND, STREAM_VERSION,
    TYPE_DATA, TYPE_HEAD, TYPE_SEAL, Totals, is_gpu_type,
};
pub use writer::{DataRecord, Elided, RecordWriter, Written};

#[cfg(test)]
mod tests;
