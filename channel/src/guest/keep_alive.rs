//! A step that has nothing to say for a while.

use super::conversation::Conversation;
use super::interrupt::Interrupt;
use crate::message::ToHost;

/// Shows dom0 that a step without traffic of its own is alive.
pub struct KeepAlive<'a>(Conversation<'a>);

impl<'a> KeepAlive<'a> {
    pub(super) fn new(conversation: Conversation<'a>) -> Self {
        KeepAlive(conversation)
    }

    /// As [`super::BatchSender::busy`].
    pub fn busy(&mut self) -> Result<(), Interrupt> {
        self.0.send(ToHost::Busy {})
    }
}
