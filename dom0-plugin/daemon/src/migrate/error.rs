//! Why a domain does not leave.

use crate::capture::CaptureError;
use crate::carrier::{Unannounced, Unreadable};
use crate::doctor::checks::Refused;
use crate::domain_lock::Busy;
use crate::passthrough::error::DeviceError;
use crate::peers::NotCapturable;
use crate::session::SessionError;
use crate::steering::CalledOff;
use channel::image::SessionKey;
use spool::SpoolError;
use std::io;
use stream::{SendError, WriteError};

/// A migration or save failed; the programs go on here.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// Somebody else works on the domain.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// Its sessions are not known.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The pre-flight found something.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// One of the sessions cannot be captured now.
    #[error(transparent)]
    NotCapturable(#[from] NotCapturable),
    /// The descriptor that came with the request is of no use.
    #[error("the stream: {0}")]
    Stream(#[source] io::Error),
    /// An image has no number.
    #[error("no random numbers: {0}")]
    Random(#[source] io::Error),
    /// The stream ended, or the receiver went.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A stored image could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A session's image was dropped since it was looked at.
    #[error("image {0} has gone")]
    ImageGone(SessionKey),
    /// A step of the capture failed.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// An image cannot be read, or its domain not be identified.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A session has given its state up and does not say so.
    #[error(transparent)]
    Unannounced(#[from] Unannounced),
    /// PCI devices stay.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// By the operator.
    #[error(transparent)]
    CalledOff(#[from] CalledOff),
    /// By a helper that hung up.
    #[error("the operation was cancelled")]
    Cancelled,
    /// Moving it would lose its GPU state: it is not in the stream.
    #[error("{0} has come while the domain was being moved; try again")]
    NewSession(String),
    /// Something in the suspended guest would not survive the move.
    #[error("session {node} makes no sense ({reason})")]
    Nonsense { node: String, reason: String },
    /// The same.
    #[error("{0} was not detached when the domain was suspended; try again")]
    NotDetached(String),
    /// The same.
    #[error("{who} is detached, but image {key} is not in the stream")]
    NotInStream { who: String, key: SessionKey },
    /// The same.
    #[error("{0} was being opened when the domain was suspended; try again")]
    BeingOpened(String),
    /// libxenguest failed.
    #[error("the save failed; the toolstack's log says why")]
    SaveFailed,
    /// libxenguest says that it succeeded, and has not asked for the GPU state.
    #[error("the save ended before its GPU state was sent")]
    Unsent,
    /// The helper hung up.
    #[error("the helper went away: the save was aborted")]
    HelperGone,
    /// What the helper said makes no sense.
    #[error(transparent)]
    Talk(io::Error),
}

impl From<SessionError> for MigrationError {
    fn from(e: SessionError) -> Self {
        CaptureError::from(e).into()
    }
}
