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

mod body;
mod budget;
mod error;
mod export;
mod filling;
mod guest;
mod image;
mod object;
mod room;
mod store;

pub use budget::Budget;
pub use error::SpoolError;
pub use filling::Filling;
pub use guest::{GuestSpool, Spool, SpoolConfig};
pub use image::{Image, Saved};
pub use object::GRANULE;
pub use room::Room;

#[cfg(test)]
mod tests;
