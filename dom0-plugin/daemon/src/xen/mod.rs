//! Sessions of Xen guests: XenStore to meet, grants and event channels to talk.
//!
//! `docs/xenstore.md` has the nodes. `xenstore-rs` does the reading and the watches. `xen-bindings` does the writes:
//! a write makes missing parents, so one that comes after a domain has gone would bring its folder back, and only a
//! transaction (which `xenstore-rs` does not have) can check and write in one.

mod bare_saves;
mod carrier;
mod configuration;
mod domains;
mod helper;
mod hvm;
mod link;
mod pages;
mod peer;
mod presence;
mod processes;
mod pv;
mod store;
mod sysfs;
mod toolstack;
mod watches;

pub use carrier::XenCarrier;
