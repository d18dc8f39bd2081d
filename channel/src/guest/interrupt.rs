//! Why a step of the guest's ends early.

use crate::message::ToGuest;
use crate::port::PortError;
use std::io;

/// Why a transfer ended early.
#[derive(Debug, thiserror::Error)]
pub enum Interrupt {
    /// dom0 sent another command in the middle of it.
    #[error("called off by dom0")]
    CalledOff,
    /// A request at the rendezvous (close, or the domain is a new one).
    #[error("interrupted by a request")]
    Request,
    /// dom0 cannot serve a fetch.
    #[error("dom0 has no {len} bytes at {offset} of object {object} for us")]
    Unserved {
        /// The object asked for.
        object: u64,
        /// Where in it, in bytes.
        offset: u64,
        /// How many.
        len: usize,
    },
    /// The link is of no more use.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The rendezvous failed.
    #[error("rendezvous: {0}")]
    Rendezvous(#[from] io::Error),
    /// dom0 said something that does not belong here.
    #[error("unexpected {0:?} from dom0")]
    Unexpected(ToGuest),
    /// dom0 gave back a slot that it does not have.
    #[error("dom0 {did}: {slot}")]
    Slot {
        /// What it did.
        did: &'static str,
        /// Which one, as dom0 says.
        slot: u64,
    },
}
