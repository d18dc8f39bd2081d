//! Memory of `cuMemAlloc` for other processes: the driver gives no such handles to mapped memory, so they are ours.
//!
//! ```text
//!   exporter                                importer
//!   cuIpcGetMemHandle ── 64 bytes, by the program's own way ──▶ cuIpcOpenMemHandle
//!   thread ◀────────────────── the 64 bytes ────────────────── connects
//!   thread ─────────────────────── heard ────────────────────▶
//!     passes the gate, cuMemExportToShareableHandle
//!   thread ───────── given, with the descriptor ─────────────▶ cuMemImportFromShareableHandle, cuMemMap
//! ```
//!
//! | room | purpose |
//! |---|---|
//! | [`handle`] | what the 64 bytes say |
//! | [`socket`] | how a descriptor gets from one process to another |
//! | [`exporter`] | gives memory of this process |
//! | [`importer`] | opens memory of another one |

pub mod exporter;
pub mod handle;
pub mod importer;
pub mod socket;
