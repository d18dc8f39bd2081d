//! What a program and the agent say to each other.

use crate::link::{Announcement, Request};
use crate::this_domain::ThisDomain;
use serde::{Deserialize, Serialize};

/// Version of these messages. A program brings its library along (in a container, say), so the agent may be of another.
pub const VERSION: u32 = 1;

/// From the program, each answered once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Told {
    /// First.
    Hello {
        /// [`VERSION`] of the program's library.
        version: u32,
    },
    /// Who the process is, the agent sees for itself: it takes no word of the program's for `pid` and `program`.
    Announce(Box<Announcement>),
    /// Wants up to so many pages and a doorbell; what was lent before and not published is given back.
    Share {
        /// 4 KiB each.
        pages: usize,
    },
    /// Asks which domain this is.
    Where,
    /// The lent pages are laid out.
    Publish,
    /// The lent pages are unmapped.
    Closed,
    /// Why it did not do what was asked.
    Failed(String),
    /// It has looked at its PCI bus, and announced what it saw.
    Looked,
}

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// To a `Hello`: with the socket on which requests come.
    Done,
    /// To an `Announce` or a `Where`: which domain this is; `None` where it cannot be told.
    Domain(Option<ThisDomain>),
    /// With two descriptors: the pages, to be mapped from offset 0, and the doorbell.
    Lent {
        /// 4 KiB each.
        pages: usize,
    },
    /// This could not be done; the conversation goes on.
    Failed(String),
    /// The agent does not serve this program, and hangs up.
    Refused(String),
}

/// What dom0 asks, on the socket of requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub request: Request,
}
