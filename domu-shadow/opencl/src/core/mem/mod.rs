//! Memory objects.
//!
//! | room | purpose |
//! |---|---|
//! | `object` | buffers, sub-buffers, images and pipes: [`Mem`] |
//! | `create` | creating them |
//! | `recreate` | releasing the driver's, and making them again |
//! | `storage`, `host` | where the program sees the bytes, and what the driver is lent of that |
//! | [`marks`] | which of them commands have named while a capture tracks |
//! | [`map`] | regions that are mapped |
//! | [`image`] | what makes one an image; its packed bytes |
//! | [`area`] | parts of buffers and images |

pub mod area;
mod create;
mod host;
pub mod image;
pub mod map;
pub mod marks;
mod object;
mod recreate;
mod storage;

pub use marks::TRACKING;
pub use object::{HOST_ACCESS, HOST_POINTER, Mem, Properties};
