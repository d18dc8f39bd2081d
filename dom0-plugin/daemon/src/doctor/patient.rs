//! What is looked at: a domain, and who asks.

use crate::capture::Capture;
use crate::carrier::Nonsense;
use crate::passthrough::devices::Devices;
use crate::session::{OpenSession, SessionError};
use channel::guest::Begun;
use channel::link::{Announcement, Others};
use protocol::status::StoredImage;
use spool::FreeSpace;
use std::io;

/// Who wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A save or migration that has begun.
    Preflight,
    /// A rehearsal within this daemon: the domain stays, and so do its devices.
    Rehearsal,
    /// `xl-gpu doctor`; with LIBXL_SAVE_HELPER of its environment.
    Doctor { save_helper: Option<String> },
}

/// A domain as it stands before anything is asked of its sessions.
pub struct Patient<'d> {
    pub domid: u32,
    pub asked: Asked,
    /// Its sessions.
    pub announced: Vec<Announcement>,
    /// What should be a session and is none.
    pub nonsense: Vec<Nonsense>,
    /// Images kept for it.
    pub images: Vec<StoredImage>,
    /// What more of them can take.
    pub room: FreeSpace,
    /// What somebody is doing with it.
    pub busy: Option<&'static str>,
    /// Its PCI devices, and those of others.
    pub devices: &'d Devices,
}

/// A session does not answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    #[error("it does not answer: {0}")]
    Peer(#[from] io::Error),
    #[error("{}: {}", .0.step, .0.problem)]
    Session(#[from] SessionError),
}

/// What one session answered when it was opened.
#[derive(Debug)]
pub struct Answer {
    /// Who it is, for people.
    pub who: String,
    /// What it says that it has, and how many pages it shares; or why it does not answer.
    pub begun: Result<(Begun, usize), Unanswered>,
    /// Who else holds its GPU.
    pub others: Others,
}

impl Answer {
    /// Of a session that has begun.
    pub fn of(session: &OpenSession, begun: Begun) -> Self {
        Answer {
            who: session.describe(),
            begun: Ok((begun, session.pages)),
            others: session.others().clone(),
        }
    }

    /// Of all sessions that a capture has just opened.
    pub fn of_all(capture: &Capture, begun: &[Begun]) -> Vec<Self> {
        let opened = capture.opened().zip(begun);
        opened
            .map(|(session, begun)| Answer::of(session, *begun))
            .collect()
    }

    /// Of a session that does not answer.
    pub fn none(who: String, reason: Unanswered) -> Self {
        Answer {
            who,
            begun: Err(reason),
            others: Others::default(),
        }
    }
}

impl Patient<'_> {
    /// Whether the domain is to leave, devices and all.
    pub fn would_leave(&self) -> bool {
        self.asked != Asked::Rehearsal
    }

    /// Whether it is asked by the plugin in the toolstack's helper, so that much of the host is known to work.
    pub fn by_plugin(&self) -> bool {
        self.asked == Asked::Preflight
    }
}
