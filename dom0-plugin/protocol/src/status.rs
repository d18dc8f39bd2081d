//! What `xl-gpu status` shows.

use crate::control::Request;
use crate::progress::Progress;
use crate::report::Report;
use channel::image::SessionKey;
use channel::link::LeftToDriver;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of xl-gpud.
    pub version: String,
    /// `xen` or `loopback`.
    pub carrier: String,
    /// Memory the spool uses, in bytes.
    pub spool_memory: Usage,
    /// Domains that have sessions, images or a report.
    pub domains: Vec<DomainStatus>,
}

/// A budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes in use.
    pub used: u64,
    /// Bytes there are.
    pub limit: u64,
}

/// One domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DomainStatus {
    /// Its number.
    pub domid: u32,
    /// Its name.
    pub name: String,
    /// What was last published about it.
    #[serde(flatten)]
    pub published: Published,
    /// What is going on now, if anything.
    pub busy: Option<String>,
    /// What its migration is at, where one is under way.
    pub progress: Option<Progress>,
    /// Its sessions.
    pub sessions: Vec<SessionStatus>,
    /// Images kept for it.
    pub images: Vec<StoredImage>,
    /// Its last migration.
    pub report: Option<Report>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Its id.
    pub session: String,
    /// Process id in the guest.
    pub pid: u32,
    /// Program, as the guest tells it.
    pub program: String,
    /// `attached`, `detached` or `arriving`; empty where its nodes make no sense.
    pub state: String,
    /// Generation of its newest image.
    pub generation: u64,
    /// Why it cannot be moved.
    pub blocked: Option<String>,
    /// What is wrong with it, and what to do.
    pub problem: Option<String>,
    /// What its driver's own checkpoint would have to carry, besides what moves while the program runs.
    #[serde(default)]
    pub left_to_driver: LeftToDriver,
}

/// What was last published about a domain: `control/gpu-migration/state` and `error`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The state.
    pub state: PublishedState,
    /// Why the last request failed; empty where it did not.
    pub error: String,
}

/// The values of `control/gpu-migration/state`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishedState {
    #[default]
    Idle,
    Migrating,
    Checkpointing,
    Checkpointed,
    Detaching,
    Detached,
    Attaching,
    Attached,
    Failed,
}

impl PublishedState {
    /// While `request` is being done.
    pub fn doing(request: Request) -> Self {
        match request {
            Request::Checkpoint => PublishedState::Checkpointing,
            Request::Detach => PublishedState::Detaching,
            Request::Attach => PublishedState::Attaching,
        }
    }

    /// Once `request` has been done.
    pub fn done(request: Request) -> Self {
        match request {
            Request::Checkpoint => PublishedState::Checkpointed,
            Request::Detach => PublishedState::Detached,
            Request::Attach => PublishedState::Attached,
        }
    }

    /// The node's value.
    pub fn as_str(self) -> &'static str {
        match self {
            PublishedState::Idle => "idle",
            PublishedState::Migrating => "migrating",
            PublishedState::Checkpointing => "checkpointing",
            PublishedState::Checkpointed => "checkpointed",
            PublishedState::Detaching => "detaching",
            PublishedState::Detached => "detached",
            PublishedState::Attaching => "attaching",
            PublishedState::Attached => "attached",
            PublishedState::Failed => "failed",
        }
    }
}

impl fmt::Display for PublishedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an image is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Its session gets it back as soon as it asks.
    Serve,
    /// Its session was detached by hand and gets it back at `attach`.
    Held,
    /// A checkpoint: its session runs on without it.
    Checkpoint,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// An image in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImage {
    /// Session and generation.
    #[serde(flatten)]
    pub key: SessionKey,
    /// What it is kept for.
    pub purpose: Purpose,
    /// Objects in it, the manifest among them.
    pub objects: u64,
    /// Sum of their sizes, in bytes.
    pub bytes: u64,
    /// Bytes of memory and disk it takes; zeros take none.
    pub stored: u64,
    /// It is being served now.
    pub serving: bool,
}
