//! How the daemon meets guests: through XenStore and grants ([`super::xen`]), or loopback ([`super::loopback`]).

use super::passthrough::toolstack::Toolstack;
use channel::bus::Bus;
use channel::image::{SessionId, SessionKey};
use channel::link::{Announcement, Peer, Residence};
use host::save::Save;
use protocol::progress::Progress;
use protocol::status::PublishedState;
use std::io;
use std::time::Duration;

/// Most sessions of a domain that are looked at: a guest cannot keep the daemon busy by making more. They fit one stream.
pub const MAX_SESSIONS: usize = stream::MAX_SESSIONS;
/// Most of the processes that a session names beside itself.
pub const MAX_HOLDERS: usize = 32;

/// Something happened that the daemon should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Sessions of the domain have come, gone or changed.
    Sessions(u32),
    /// The administrator asks for something (`control/gpu-migration/request`).
    Request(u32, String),
    /// A domain is being saved without the plugin.
    BareSave(Save),
    /// The domain is no more.
    Gone(u32),
    /// Nothing more will come: the connection to XenStore is lost.
    Lost,
}

/// A domain, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its number.
    pub domid: u32,
    /// Its name; empty where it has none.
    pub name: String,
}

/// A session's node that is no announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonsense {
    /// Name of the node, cleaned.
    pub node: String,
    /// What is wrong with it, cleaned.
    pub reason: String,
}

/// What a domain's sessions tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sessions {
    /// Announced sessions, in order of their ids, texts cleaned.
    pub announced: Vec<Announcement>,
    /// Nodes that no session can be made of.
    pub nonsense: Vec<Nonsense>,
    /// Those whose process was killed and left its nodes.
    pub ended: Vec<SessionId>,
}

/// A domain's sessions could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the sessions of domain {domid} cannot be read: {error}")]
pub struct Unreadable {
    pub domid: u32,
    #[source]
    pub error: io::Error,
}

/// A session gave its state up and does not announce it; its image is kept.
#[derive(Debug, thiserror::Error)]
#[error(
    "session {} did not say within {patience:?} that it is detached; image {key} is kept for it",
    .key.session
)]
pub struct Unannounced {
    pub key: SessionKey,
    pub patience: Duration,
}

/// How long a guest may take to say that it is attached, once it has closed.
pub const ANNOUNCE_PATIENCE: Duration = Duration::from_secs(2);

/// A session, for people.
pub fn who(a: &Announcement) -> String {
    format!("session {} ({}, pid {})", a.session, a.program, a.pid)
}

/// The image that a session says it left behind, or waits for.
pub fn image_of(a: &Announcement) -> SessionKey {
    SessionKey {
        session: a.session,
        generation: a.generation,
    }
}

impl dyn Carrier + '_ {
    /// [`Carrier::sessions`], with the domain in the error.
    pub fn sessions_of(&self, domid: u32) -> Result<Sessions, Unreadable> {
        self.sessions(domid)
            .map_err(|error| Unreadable { domid, error })
    }

    /// [`Carrier::is_open`], with the domain in the error.
    pub fn is_session_open(&self, domid: u32, session: SessionId) -> Result<bool, Unreadable> {
        self.is_open(domid, session)
            .map_err(|error| Unreadable { domid, error })
    }

    /// Waits until all sessions of `keys` say themselves that they are detached: what the guest has in flight to XenStore
    /// should not be cut in two by a suspend. Each has `patience`.
    pub fn await_detached(
        &self,
        domid: u32,
        keys: &[SessionKey],
        patience: Duration,
    ) -> Result<(), Unannounced> {
        let silent = |key: &&SessionKey| {
            !self.await_state(domid, key.session, Residence::Detached, patience)
        };
        let unannounced = |key: &SessionKey| Unannounced {
            key: *key,
            patience,
        };
        keys.iter()
            .find(silent)
            .map_or(Ok(()), |key| Err(unannounced(key)))
    }
}

/// Where sessions are met.
pub trait Carrier: Send + Sync {
    /// Its name, for `xl-gpu status`.
    fn name(&self) -> &'static str;
    /// What assigns PCI devices to domains; `None` where there are none to assign.
    fn toolstack(&self) -> Option<&dyn Toolstack> {
        None
    }
    /// All domains but dom0.
    fn domains(&self) -> io::Result<Vec<Domain>>;
    /// The domain's sessions as they are now; none where there is no such domain.
    fn sessions(&self, domid: u32) -> io::Result<Sessions>;
    /// dom0's end of one session; an error of kind `NotFound` where it is not announced.
    fn peer(&self, domid: u32, session: SessionId) -> io::Result<Box<dyn Peer>>;
    /// Whether the session says that it shares pages now.
    fn is_open(&self, domid: u32, session: SessionId) -> io::Result<bool>;
    /// Has a session that tells of its guest's PCI bus look at it, after a scan for new devices if `rescan`; `None` where it does not
    /// tell. A session in the middle of a step answers after it.
    fn look(
        &self,
        domid: u32,
        session: SessionId,
        rescan: bool,
        patience: Duration,
    ) -> io::Result<Option<Bus>>;
    /// Waits until the session says itself that it is `wanted`, for at most `patience`; whether it does, or has gone.
    fn await_state(
        &self,
        domid: u32,
        session: SessionId,
        wanted: Residence,
        patience: Duration,
    ) -> bool;
    /// What stays the same over the life of a domain and tells it from another of the same number.
    /// `None` where the carrier knows no such thing.
    fn identity(&self, domid: u32) -> io::Result<Option<String>>;
    /// Publishes what is going on with the domain; `error` replaces the last one.
    fn tell(&self, domid: u32, state: PublishedState, error: Option<&str>);
    /// Publishes what the domain's migration is at; `None` once it is over.
    fn tell_progress(&self, domid: u32, progress: Option<&Progress>);
    /// Publishes why a session was not served.
    fn tell_session(&self, domid: u32, session: SessionId, error: &str);
    /// Takes the administrator's request off.
    fn acknowledge(&self, domid: u32);
    /// Removes what a dead process left behind.
    fn forget(&self, domid: u32, session: SessionId) -> io::Result<()>;
}
