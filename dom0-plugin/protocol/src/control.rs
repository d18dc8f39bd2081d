//! What `xl-gpu` asks of `xl-gpud`.

use channel::image::SessionId;
use serde::{Deserialize, Serialize};

/// A request of the CLI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Control {
    /// Everything there is to know.
    Status,
    /// `checkpoint`, `detach` or `attach`.
    Request {
        /// The domain.
        domid: u32,
        /// What to do.
        request: Request,
    },
    /// The operator's order to a migration under way.
    Steer {
        /// The domain.
        domid: u32,
        /// What to do.
        order: Order,
    },
    /// The last migration's report.
    Report {
        /// The domain.
        domid: u32,
    },
    /// The same of a domain that may have left: the last report of its name or UUID.
    ReportOf {
        /// One of these.
        domain: String,
    },
    /// The last migrations.
    History {
        /// Name, UUID or number of a domain; without it, those of all.
        domain: Option<String>,
    },
    /// Why the domain could not migrate now.
    Doctor {
        /// Its name or number.
        domain: String,
        /// LIBXL_SAVE_HELPER where it is asked.
        save_helper: Option<String>,
    },
    /// Whether the daemon could end now.
    Idle,
    /// Removes what a dead process left.
    Forget {
        /// The domain.
        domid: u32,
        /// The session.
        session: SessionId,
    },
    /// A whole migration within this daemon.
    MigrateLoopback {
        /// The domain.
        domid: u32,
        /// One session; without it all of them.
        session: Option<SessionId>,
    },
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// Capture into the spool; the programs go on.
    Checkpoint,
    /// Capture into the spool and unload the driver; the programs' GPU calls wait.
    Detach,
    /// Give detached sessions their state back.
    Attach,
}

impl Request {
    /// The request named `text`.
    pub fn parse(text: &str) -> Option<Request> {
        match text {
            "checkpoint" => Some(Request::Checkpoint),
            "detach" => Some(Request::Detach),
            "attach" => Some(Request::Attach),
            _ => None,
        }
    }
}

/// What came of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Sessions it worked on.
    pub sessions: usize,
    /// Bytes captured or restored.
    pub bytes: u64,
    /// Longest time a program's GPU calls had to wait so far, in nanoseconds.
    pub blackout_ns: u64,
}

/// What the daemon has to do yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idleness {
    /// What is under way for guests: an end of the daemon would end it.
    pub under_way: Vec<String>,
    /// What is kept for guests, for the next daemon to give back.
    pub kept: Vec<String>,
}

/// What came of [`Control::Forget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Images that were dropped.
    pub images: usize,
}

/// What the operator can order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Go on with rounds, and do not stop the programs.
    Hold,
    /// The end of a hold.
    Release,
    /// Stop the programs now, whatever is predicted.
    Force,
    /// Give the migration up; the programs go on where they are.
    Abort,
}

impl Order {
    /// The order named `text`.
    pub fn parse(text: &str) -> Option<Order> {
        match text {
            "hold" => Some(Order::Hold),
            "release" => Some(Order::Release),
            "force" => Some(Order::Force),
            "abort" => Some(Order::Abort),
            _ => None,
        }
    }
}
