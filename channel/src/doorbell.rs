//! Ringing and waiting, in the one order in which no wake-up is lost.
//!
//! ```text
//!  producer                       consumer
//!   write entry                    pop: entry? ── yes ──> done
//!   publish index  (release)       sleep until the doorbell rings
//!   ring the doorbell              clear the doorbell
//!                                  again: pop (acquire)
//! ```
//!
//! The doorbell stays rung until it is cleared, and it is cleared only *before* a look at the ring: a ring
//! taken by `clear` belongs to an entry that the following pop sees. `tests/loom.rs` runs this very
//! code through every interleaving.

#![forbid(unsafe_code)]

use crate::ring::{Consumer, Corrupt, Entry, Producer, RingMem};

/// Why a sleeper woke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The peer rang.
    Rang,
    /// Something else wants attention.
    CalledOff,
}

/// A doorbell between two parties: level-triggered, one bit.
pub trait Doorbell {
    /// What can go wrong with it, or with the ring it belongs to.
    type Error: From<Corrupt>;
    /// Rings at the peer.
    fn ring(&mut self) -> Result<(), Self::Error>;
    /// Blocks until our own doorbell is rung, or something else ends the wait.
    fn sleep(&mut self) -> Result<Woken, Self::Error>;
    /// Takes the rings so far.
    fn clear(&mut self) -> Result<(), Self::Error>;
}

/// Appends an entry and rings; `Ok(false)` where the ring is full.
pub fn send<B: Doorbell>(
    producer: &mut Producer,
    mem: &impl RingMem,
    doorbell: &mut B,
    entry: &Entry,
) -> Result<bool, B::Error> {
    let sent = producer.push(mem, entry)?;
    if sent {
        doorbell.ring()?;
    }
    Ok(sent)
}

/// The next entry; `Ok(None)` where the wait was called off and nothing had come before that.
pub fn receive<B: Doorbell>(
    consumer: &mut Consumer,
    mem: &impl RingMem,
    doorbell: &mut B,
) -> Result<Option<Entry>, B::Error> {
    loop {
        if let Some(entry) = consumer.pop(mem)? {
            return Ok(Some(entry));
        }
        match doorbell.sleep()? {
            Woken::Rang => doorbell.clear()?,
            Woken::CalledOff => return Ok(consumer.pop(mem)?),
        }
    }
}
