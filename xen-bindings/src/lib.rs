//! The parts of Xen's C interface that xl-gpu needs, behind small safe types.
//!
//! | type | what it is | C library |
//! |---|---|---|
//! | [`GrantShare`] | pages this domain grants to another one | `libxengnttab.so.1` |
//! | [`GrantToken`] | a page granted for as long as this process runs | `libxengnttab.so.1` |
//! | [`GrantMap`] | pages another domain granted, mapped here | `libxengnttab.so.1` |
//! | [`ForeignMemory`] | any pages of another domain, mapped for reading | `libxenforeignmemory.so.1` |
//! | [`DeviceModel`] | an HVM guest's interrupt lines | `libxendevicemodel.so.1` |
//! | [`EventChannel`] | one event channel port, with a descriptor to poll | `libxenevtchn.so.1` |
//! | [`Store`], [`Nodes`], [`Transaction`] | XenStore: watches, nodes, transactions | `libxenstore.so.4` |
//! | [`guest`] | types of `xenguest.h` and the table of versions whose prototypes are known | none |
//!
//! The libraries are opened when the first value of a type is made, so a binary that contains this crate starts on a
//! machine without Xen; making such a value there gives a [`LibraryError`] that names the missing library.
//!
//! Memory shared with another domain is only ever given out as a raw pointer and a length, or copied out: the peer may
//! change every byte at any time, so no reference or slice may be formed over it.

mod device_model;
mod error;
mod event_channel;
mod foreign_memory;
mod grant_map;
mod grant_share;
mod grant_token;
pub mod guest;
mod library;
mod logger;
mod nodes;
mod page;
mod store;
pub mod sys;
mod transaction;

pub use device_model::{ACPI_IRQ, DeviceModel};
pub use error::{
    DeviceModelError, EventChannelError, ForeignMemoryError, GrantError, LibraryError, StoreError,
};
pub use event_channel::EventChannel;
pub use foreign_memory::{ForeignMap, ForeignMemory};
pub use grant_map::GrantMap;
pub use grant_share::GrantShare;
pub use grant_token::{GrantToken, is_gone};
pub use nodes::{Nodes, Permission};
pub use page::PAGE_SIZE;
pub use store::{Store, WatchEvent};
pub use transaction::Transaction;
