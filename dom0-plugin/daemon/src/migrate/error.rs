//! Why a domain does not leave.

use crate::capture::CaptureError;
use crate::carrier::{Unannounced, Unreadable};
use crate::doctor::checks::Refused;
use crate::domain_lock::Busy;
use crate::notice::NoticeError;
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
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    NotCapturable(#[from] NotCapturable),
    #[error("the stream: {0}")]
    Stream(#[source] io::Error),
    #[error("no random numbers: {0}")]
    Random(#[source] io::Error),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Notice(#[from] NoticeError),
    #[error("image {0} has gone")]
    ImageGone(SessionKey),
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Unannounced(#[from] Unannounced),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    CalledOff(#[from] CalledOff),
    #[error("the operation was cancelled")]
    Cancelled,
    #[error("{0} has come while the domain was being moved; try again")]
    NewSession(String),
    #[error("session {node} makes no sense ({reason})")]
    Nonsense { node: String, reason: String },
    #[error("{0} was not detached when the domain was suspended; try again")]
    NotDetached(String),
    #[error("{who} is detached, but image {key} is not in the stream")]
    NotInStream { who: String, key: SessionKey },
    #[error("{0} was being opened when the domain was suspended; try again")]
    BeingOpened(String),
    #[error("the save failed; the toolstack's log says why")]
    SaveFailed,
    #[error("the save ended before its GPU state was sent")]
    Unsent,
    #[error("the helper went away: the save was aborted")]
    HelperGone,
    #[error(transparent)]
    Talk(io::Error),
}

impl From<SessionError> for MigrationError {
    fn from(e: SessionError) -> Self {
        CaptureError::from(e).into()
    }
}
