//! The spool: where dom0 keeps the images of a guest's GPU sessions until somebody fetches them back.
//!
//! ```text
//!  Spool ── memory budget, folder         one per daemon
//!    └ GuestSpool ── byte quota           one per domain
//!        └ Image                          one per session and generation
//!            ├ memfd   objects that fit into the memory budget when they appear
//!            └ file    the others: unlinked, so it goes with the daemon's last descriptor
//! ```
//!
//! Before a guest gives its GPU state up, its image is *saved*: a lasting spool takes memory in a folder of a memory
//! filesystem instead of a memfd; saving links both files and writes an index, from which a later daemon adopts the image.
//!
//! What lies in memory is written through mappings, by many threads at once.
//!
//! Objects are sparse at a grain of [`GRANULE`]: zeros take no space. Space is claimed before the first
//! byte of an extent is written, so that a full disk or quota refuses the extent and changes nothing.

//!
//! | module | purpose |
//! |---|---|
//! | `spool`, `guest` | [`Spool`], [`GuestSpool`]: who keeps which images |
//! | `budget`, `free_space` | bytes that are taken, and that can be |
//! | `image` | [`Image`]: objects; written, read, copied within, put on record |
//! | `parallel_writer` | [`ParallelWriter`]: writing one from several threads |
//! | `export` | an image as batches again |
//! | `object` | which granules of an object hold bytes |
//! | `store`, `backing_file` | the sparse file that objects live in, and its mappings |
//! | `saved_files` | the files of an image on record |
//! | `error` | why something could not be kept or given |

mod backing_file;
mod budget;
mod error;
mod export;
mod free_space;
mod guest;
mod image;
mod object;
mod parallel_writer;
mod saved_files;
mod spool;
mod store;

pub use budget::Budget;
pub use error::{RecordFault, SpoolError};
pub use free_space::FreeSpace;
pub use guest::GuestSpool;
pub use image::Image;
pub use image::persist::Saved;
pub use object::GRANULE;
pub use parallel_writer::ParallelWriter;
pub use spool::{Spool, SpoolConfig};

#[cfg(test)]
mod tests;
