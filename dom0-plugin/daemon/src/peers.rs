//! The sessions of a domain that are to be captured.

use crate::carrier::{Carrier, who};
use crate::doctor::sessions::cannot_be_captured;
use channel::link::{Announcement, Peer, Residence};
use protocol::diagnosis::Finding;
use std::io;

/// A session cannot be captured now.
#[derive(Debug, thiserror::Error)]
pub enum NotCapturable {
    #[error(
        "{who} still waits for contents of image {generation}: it cannot be captured before they have arrived; \
         if that image is not here, end the program"
    )]
    Arriving { who: String, generation: u64 },
    #[error("{0}")]
    Blocked(Box<Finding>),
    #[error("{who}: {error}")]
    Peer { who: String, error: io::Error },
}

/// Peers of the attached sessions; an error where one cannot be captured.
pub fn peers_to_capture(
    carrier: &dyn Carrier,
    domid: u32,
    announced: &[Announcement],
) -> Result<Vec<Box<dyn Peer>>, NotCapturable> {
    if let Some(a) = announced.iter().find(|a| a.state == Residence::PostCopy) {
        return Err(NotCapturable::Arriving {
            who: who(a),
            generation: a.generation,
        });
    }
    let attached = announced.iter().filter(|a| a.state == Residence::Attached);
    attached
        .map(|a| match cannot_be_captured(a) {
            Some(finding) => Err(NotCapturable::Blocked(Box::new(finding))),
            None => carrier.peer(domid, a.session).map_err(|error| {
                let who = who(a);
                NotCapturable::Peer { who, error }
            }),
        })
        .collect()
}
