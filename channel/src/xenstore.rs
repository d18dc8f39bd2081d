//! Where sessions, dom0 and administrators meet in XenStore: paths, names and values of nodes, as `docs/xenstore.md`
//! describes them. Both ends take them from here. Text only: nothing in this crate talks to XenStore.

#![forbid(unsafe_code)]

use crate::layout::{MAX_PAGES, MIN_PAGES};
use crate::link::{LeftToDriver, Residence};
use std::fmt;
use std::str::FromStr;

/// Folder of all domains.
pub const DOMAINS: &str = "/local/domain";
/// Folder of a domain's sessions, below its home.
pub const SESSIONS: &str = "data/gpu-migration";

/// Nodes of a session, all written by the guest but `request` and `error`, which both write.
pub mod session {
    pub const ALIVE: &str = "alive";
    pub const BLOCKED: &str = "blocked";
    pub const CHANNEL: &str = "channel";
    pub const ERROR: &str = "error";
    pub const GENERATION: &str = "generation";
    pub const HOLDERS: &str = "holders";
    pub const INSTANCE: &str = "instance";
    pub const LEFT: &str = "left";
    pub const PCI: &str = "pci";
    pub const PID: &str = "pid";
    pub const PROGRAM: &str = "program";
    /// Written last, removed with the session: it is announced as long as this is there.
    pub const PROTOCOL: &str = "protocol";
    pub const REQUEST: &str = "request";
    pub const STATE: &str = "state";
    pub const UID: &str = "uid";
    pub const UNSEEN: &str = "unseen";
}

/// Nodes below [`control()`], all written by dom0 but `request`.
pub mod control {
    pub const ERROR: &str = "error";
    /// Folder of what the domain's PCI devices were before they were detached.
    pub const PCI: &str = "pci";
    /// Folder of what a migration under way is at.
    pub const PROGRESS: &str = "progress";
    pub const REQUEST: &str = "request";
    pub const STATE: &str = "state";
}

/// Values of a session's `request`; the empty text means that it is done.
pub mod request {
    pub const CLOSE: &str = "close";
    pub const LOOK: &str = "look";
    pub const OPEN: &str = "open";
    pub const RESCAN: &str = "rescan";
}

/// A domain's home: where the guest's own relative paths start.
pub fn home(domid: u32) -> String {
    format!("{DOMAINS}/{domid}")
}

/// Folder of a domain's sessions.
pub fn sessions(domid: u32) -> String {
    format!("{}/{SESSIONS}", home(domid))
}

/// Folder for the administrator's requests to a domain, and what came of them.
pub fn control(domid: u32) -> String {
    format!("{}/control/gpu-migration", home(domid))
}

/// Value of a session's `protocol`: oldest and newest version.
pub fn format_versions((oldest, newest): (u32, u32)) -> String {
    format!("{oldest} {newest}")
}

/// The reverse of [`format_versions`]; `None` for nonsense.
pub fn parse_versions(text: &str) -> Option<(u32, u32)> {
    let (oldest, newest) = text.split_once(' ')?;
    let range = (oldest.parse().ok()?, newest.parse().ok()?);
    (range.0 <= range.1).then_some(range)
}

/// Value of a session's `left`: contexts, bytes, pinned bytes.
pub fn format_left(left: LeftToDriver) -> String {
    let LeftToDriver {
        contexts,
        bytes,
        pinned,
    } = left;
    format!("{contexts} {bytes} {pinned}")
}

/// The reverse of [`format_left`], more words allowed; `None` for nonsense.
pub fn parse_left(text: &str) -> Option<LeftToDriver> {
    let mut words = text.split(' ').map(str::parse);
    let mut next = || words.next()?.ok();
    Some(LeftToDriver {
        contexts: next()?,
        bytes: next()?,
        pinned: next()?,
    })
}

/// Value of a session's `channel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedChannel {
    /// Grant reference of page 0.
    pub reference: u32,
    /// Event channel port in the guest.
    pub port: u32,
    /// Pages in all.
    pub pages: usize,
}

impl fmt::Display for PublishedChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.reference, self.port, self.pages)
    }
}

impl PublishedChannel {
    /// Reads the node's value; `None` for nonsense.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let published = PublishedChannel {
            reference: words.next()?.parse().ok()?,
            port: words.next()?.parse().ok()?,
            pages: words.next()?.parse().ok()?,
        };
        (words.next().is_none() && (MIN_PAGES..=MAX_PAGES).contains(&published.pages))
            .then_some(published)
    }
}

/// A text that names no [`Residence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `attached`, `detached` or `arriving`")]
pub struct UnknownResidence;

/// Value of a session's `state`; the reverse of its `Display`.
impl FromStr for Residence {
    type Err = UnknownResidence;

    fn from_str(text: &str) -> Result<Self, UnknownResidence> {
        let all = [
            Residence::Attached,
            Residence::Detached,
            Residence::PostCopy,
        ];
        all.into_iter()
            .find(|state| state.to_string() == text)
            .ok_or(UnknownResidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_a_range() {
        assert_eq!(parse_versions(&format_versions((1, 3))), Some((1, 3)));
        for bad in ["", "1", "3 1", "1 2 3", "-1 2", "1  2", "99999999999 1"] {
            assert_eq!(parse_versions(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_left_to_the_driver_is_three_numbers() {
        let left = LeftToDriver {
            contexts: 1,
            bytes: 2 << 30,
            pinned: 4096,
        };
        assert_eq!(parse_left(&format_left(left)), Some(left));
        assert_eq!(
            parse_left("1 2147483648 4096 7"),
            Some(left),
            "a later guest"
        );
        for bad in ["", "1 2", "1  2 3", "-1 2 3", "1 2 99999999999999999999"] {
            assert_eq!(parse_left(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_channel_node_is_three_numbers() {
        let published = PublishedChannel::parse("8 12 263").unwrap();
        assert_eq!(
            (published.reference, published.port, published.pages),
            (8, 12, 263)
        );
        assert_eq!(published.to_string(), "8 12 263");
        for bad in [
            "",
            "8 12",
            "8 12 4",
            "8 12 32769",
            "8 12 263 1",
            "8 12 -1",
            "a b c",
            "8  12 263",
        ] {
            assert_eq!(PublishedChannel::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        assert_eq!("arriving".parse(), Ok(Residence::PostCopy));
        assert_eq!("Attached".parse::<Residence>(), Err(UnknownResidence));
    }
}
