//! PCI devices of a domain that moves: away before Xen tracks its writes, back before its programs get their GPU state.
//!
//! ```text
//!  source                                        destination
//!  pre-flight: the guest has its devices
//!  GPU rounds, stop, unload: no holder left
//!  send_away: record, hook, xl pci-detach
//!  log-dirty, memory, suspend ─────────────────> libxl builds the domain and assigns what its configuration lists
//!                                                 the guest runs, its sessions answer
//!  (if it is resumed here: bring_back)           bring_back: wake the guest, or attach by policy; hook
//!                                                 sessions are served
//! ```
//!
//! The configuration leaves before the devices are detached, so it lists them (libxl compares it with XenStore when `xl` asks
//! for it). On the other host libxl assigns the devices of the same address. It leaves out what the configuration calls by a name
//! (`xl pci-assignable-add -n`, `pci=["name=…"]`; `COMPARE_PCI` in libxl_internal.h goes by addresses): that host's policy says then which
//! device it is. libxl makes pcifront's nodes while the
//! guest does not run yet, and Linux, when it is resumed, looks at none that it did not know: it has to be woken. What the kinds of guests
//! do is in [`pv`] and [`hvm`]; [`guest`] chooses.
//!
//! What was taken stands in XenStore with the domain ([`taken`]), so that it comes back even if this daemon dies in between, and is
//! forgotten with a domain that has left. Where a device is at each moment is a [`standing`].

pub mod absence;
pub mod chip;
pub mod command;
pub mod departure;
pub mod device;
pub mod devices;
pub mod error;
pub mod guest;
pub mod holders;
pub mod homecoming;
pub mod hvm;
pub mod kind;
pub mod look;
pub mod on_bus;
pub mod policy;
pub mod pv;
pub mod standing;
pub mod taken;
pub mod toolstack;
pub mod verdict;
pub mod wait;
pub mod waits;
