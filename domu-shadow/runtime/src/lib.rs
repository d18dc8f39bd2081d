//! What moving a program's GPU state needs of no API.
//!
//! An API (OpenCL's is the crate `opencl`) registers itself ([`gpu_api`]); a process that uses several is one session, and
//! moves as one.
//!
//! | room | purpose |
//! |---|---|
//! | [`gpu_api`] | what an API gives a move, and which APIs there are |
//! | [`gate`], `thread_word` | what every call passes and a move closes |
//! | [`start`] | what happens once per process |
//! | [`fork`], [`locks`] | what a child of `fork` gets |
//! | [`process_exit`] | the program's exit, and the steps of a move |
//! | [`callbacks`] | the program's callbacks, off the driver's threads |
//! | [`blocked`] | what keeps the process from moving |
//! | [`residency`] | contents that arrive after the gate has opened, and the calls that wait for them |
//! | [`delta`] | finding which chunks of memory changed, on the device |
//! | [`mover`] | the phases of a move, as types |
//! | `pci` | what is on the guest's PCI bus |
//! | [`vendor`] | what vendors' libraries open, and leave behind |
//! | [`reserve`] | descriptors and address space, held while no driver is there |
//! | [`session`] | the thread that dom0 talks to |
//! | [`thread`] | threads of ours |
//! | [`trusted_env`] | the environment, but for programs that gain rights |
//! | [`poll`], [`phase_timer`], `clock` | waiting without falling silent; what parts of a step take, and a suspend |

mod at_load;
pub mod blocked;
pub mod callbacks;
mod clock;
pub mod delta;
pub mod fork;
pub mod gate;
pub mod gpu_api;
pub mod locks;
pub mod mover;
mod pci;
pub mod phase_timer;
pub mod poll;
pub mod process_exit;
pub mod reserve;
pub mod residency;
pub mod session;
pub mod start;
pub mod thread;
mod thread_word;
pub mod trusted_env;
pub mod vendor;
