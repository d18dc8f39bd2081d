//! A session's end of a meeting with dom0 over Xen, and what it tells of the guest.
//!
//! Used by the program itself where it may open Xen's devices, and by the agent for programs that may not.
//!
//! | room | what it is |
//! |---|---|
//! | [`instance`] | a process, told from later ones with its number |
//! | [`grant_link`] | granted pages and a port, as a link of the channel |
//! | [`nodes`] | the session's nodes in XenStore |
//! | [`pci_devices`] | what is on the guest's PCI bus |

pub mod grant_link;
pub mod instance;
pub mod nodes;
pub mod pci_devices;

/// dom0's domain id.
pub const DOM0: u16 = 0;
