//! Why a step with a session failed.

use crate::BoxError;
use crate::image::BatchError;
use crate::message::{ToGuest, ToHost};
use crate::port::PortError;
use std::time::Duration;

/// A step with a session failed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The guest says it could not; its state is as before the command.
    #[error("the guest refused: {0}")]
    Refused(String),
    /// Rings or doorbell.
    #[error("channel: {0}")]
    Port(#[from] PortError),
    /// The guest answered now and then, but in all too slowly.
    #[error("the guest kept dom0 waiting for {0:?} in one step")]
    TooSlow(Duration),
    /// An answer that does not belong to the command.
    #[error("the guest answered {answer:?} to {command:?}")]
    OutOfTurn {
        /// What was asked.
        command: ToGuest,
        /// What came.
        answer: ToHost,
    },
    /// A slot, size or figure that cannot be.
    #[error("{what} {value} of the guest's message is out of bounds")]
    Outside {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A batch that is none.
    #[error("batch from the guest: {0}")]
    Batch(#[from] BatchError),
    /// More than the guest may send.
    #[error("the guest sent more than {limit} {what} in one step")]
    TooMuch {
        /// What of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// The spool or the stream failed; the session itself is well, but what it sent is lost: resume it.
    #[error(transparent)]
    Store(BoxError),
    /// The caller's: an earlier step ended with [`HostError::Store`], so only a resume makes sense now.
    #[error("{0:?} was not given: the step before it was cut short, the session has to be resumed")]
    CutShort(ToGuest),
    /// The caller's: [`crate::message::STOP_ROUND`] as the number of a round.
    #[error("{0} is no round's number")]
    RoundNumber(u32),
}

impl HostError {
    /// True where no further command can be given: take the link and unmap it. False where the session is in the
    /// state it was in before the step.
    pub fn ends_the_link(&self) -> bool {
        !matches!(
            self,
            HostError::Refused(_)
                | HostError::Store(_)
                | HostError::CutShort(_)
                | HostError::RoundNumber(_)
        )
    }
}

/// Text from a guest for dom0's logs and terminals: at most `limit` characters, none of which moves a cursor or
/// turns the writing direction.
pub fn printable(text: &str, limit: usize) -> String {
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars()
        .take(limit)
        .map(|c| if hides(c) { ' ' } else { c })
        .collect()
}
