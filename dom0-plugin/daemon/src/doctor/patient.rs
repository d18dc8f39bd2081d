//! What is looked at: a domain, and who asks.

use crate::Daemon;
use crate::carrier::Nonsense;
use crate::session::OpenSession;
use channel::guest::Begun;
use channel::image::SessionId;
use channel::link::{Announcement, Others};
use protocol::status::StoredImage;

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
    pub daemon: &'d Daemon,
    pub domid: u32,
    pub asked: Asked,
    /// Its sessions.
    pub announced: Vec<Announcement>,
    /// What should be a session and is none.
    pub nonsense: Vec<Nonsense>,
    /// Images kept for it.
    pub images: Vec<StoredImage>,
}

/// What one session answered when it was opened.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Who it is, for people.
    pub who: String,
    /// What it says that it has, and how many pages it shares; or why it does not answer.
    pub begun: Result<(Begun, usize), String>,
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

    /// Of a session that does not answer.
    pub fn none(who: String, reason: String) -> Self {
        Answer {
            who,
            begun: Err(reason),
            others: Others::default(),
        }
    }
}

impl<'d> Patient<'d> {
    /// Looks at the domain, or at one session of it only.
    pub fn look(
        daemon: &'d Daemon,
        domid: u32,
        only: Option<SessionId>,
        asked: Asked,
    ) -> Result<Self, String> {
        let sessions = daemon
            .carrier
            .sessions(domid)
            .map_err(|e| format!("the sessions of domain {domid} cannot be read: {e}"))?;
        let mut announced = sessions.announced;
        announced.retain(|a| only.is_none_or(|id| id == a.session));
        Ok(Patient {
            daemon,
            domid,
            asked,
            announced,
            nonsense: sessions.nonsense,
            images: daemon.images.list(domid),
        })
    }

    /// Whether the domain is to leave, devices and all.
    pub fn would_leave(&self) -> bool {
        self.asked != Asked::Rehearsal
    }

    /// Whether it is asked by the plugin in the toolstack's helper, so that much of the host is known to work.
    pub fn by_plugin(&self) -> bool {
        self.asked == Asked::Preflight
    }
}

/// A session, for people.
pub fn who(a: &Announcement) -> String {
    format!("session {} ({}, pid {})", a.session, a.program, a.pid)
}
