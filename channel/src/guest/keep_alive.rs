//! A step that has nothing to say for a while.

use super::conversation::Traffic;
use super::interrupt::Interrupt;
use crate::message::ToHost;

/// Shows dom0 that a step without traffic of its own is alive.
pub struct Pulse<'a>(Traffic<'a>);

impl<'a> Pulse<'a> {
    pub(super) fn new(traffic: Traffic<'a>) -> Self {
        Pulse(traffic)
    }

    /// As [`Outbox::busy`].
    pub fn busy(&mut self) -> Result<(), Interrupt> {
        self.0.send(ToHost::Busy {})
    }
}
