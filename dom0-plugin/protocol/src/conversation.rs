//! Lines over the daemon's Unix stream socket: one JSON object a line, one reply line a request.
//!
//! The first line of a conversation states the version that the caller speaks, and the daemon answers with its own
//! before anything else. Packages may be upgraded while a save runs, so either may be older than the other:
//!
//! ```text
//!  helper's library, xl-gpu                                   xl-gpud
//!     {"version":{"major":1,"minor":1},"op":"save",…}  ──────>
//!                                      <──────  {"version":{"major":1,"minor":1}}
//!                                      <──────  {"progress":{}}    while it works
//!                                      <──────  {"ok":…} or {"error":"…"}
//! ```
//!
//! A caller that states no version speaks [`Version::UNSTATED`], and the daemon does not answer with its own. Versions of
//! the same major number understand each other: each side ignores what it does not know, and does without what the other
//! does not know.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where `xl-gpud` listens.
pub const SOCKET: &str = "/run/xl-gpu/gpud.sock";
/// Environment variable that names another socket.
pub const SOCKET_VARIABLE: &str = "XL_GPU_SOCKET";
/// Longest line either side accepts, in bytes.
pub const LINE_MAX: usize = 1 << 20;

/// A version of what this crate describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// What this build speaks.
    pub const OURS: Version = Version { major: 1, minor: 1 };
    /// Before versions were stated.
    pub const UNSTATED: Version = Version { major: 1, minor: 0 };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Who asks the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The library in `libxl-save-helper`.
    Helper,
    /// `xl-gpu`.
    CommandLine,
}

/// The two ends do not understand each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} speaks {theirs}, xl-gpud {daemon}: {}", self.name(), self.remedy())]
pub struct Mismatch {
    caller: Caller,
    theirs: Version,
    daemon: Version,
}

impl Mismatch {
    /// An error where the major numbers differ.
    pub fn check(caller: Caller, theirs: Version, daemon: Version) -> Result<(), Mismatch> {
        match theirs.major == daemon.major {
            true => Ok(()),
            false => Err(Mismatch {
                caller,
                theirs,
                daemon,
            }),
        }
    }

    fn name(&self) -> &'static str {
        match self.caller {
            Caller::Helper => "this helper library",
            Caller::CommandLine => "this xl-gpu",
        }
    }

    fn remedy(&self) -> &'static str {
        match (self.caller, self.theirs.major > self.daemon.major) {
            (_, true) => {
                "xl-gpud still runs as it was before an upgrade; restart it (systemctl restart xl-gpud) and try again"
            }
            (Caller::Helper, false) => {
                "packages were upgraded while this save or restore ran; try again"
            }
            (Caller::CommandLine, false) => "install xl-gpu of the version of xl-gpud",
        }
    }
}

/// A reply line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply<T> {
    Ok(T),
    /// Refused, with the reason for the operator.
    Error(String),
    /// Still at it. Any number of these may come before the reply; each starts the caller's patience anew.
    Progress(serde_json::Value),
    /// What the daemon speaks: comes before the reply to a first line that states a version.
    Version(Version),
}

/// Reply whose content does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// The version that a conversation's first line states.
pub fn stated_version(first_line: &[u8]) -> Option<Version> {
    #[derive(Deserialize)]
    struct FirstLine {
        version: Option<Version>,
    }
    serde_json::from_slice::<FirstLine>(first_line)
        .ok()?
        .version
}

/// A caller's end of a conversation, without the socket.
#[derive(Debug)]
pub struct CallerEnd {
    caller: Caller,
    ours: Version,
    has_opened: bool,
    daemon: Version,
}

/// Why a reply line brings no reply.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// The daemon's own words.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Version(Mismatch),
    #[error(transparent)]
    Garbled(serde_json::Error),
}

impl CallerEnd {
    /// A conversation that `caller` is about to open.
    pub fn new(caller: Caller) -> Self {
        CallerEnd {
            caller,
            ours: Version::OURS,
            has_opened: false,
            daemon: Version::UNSTATED,
        }
    }

    /// The line that asks for `request`; the first one states the version.
    pub fn ask(&mut self, request: &impl Serialize) -> serde_json::Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Line<'a, R> {
            #[serde(skip_serializing_if = "Option::is_none")]
            version: Option<Version>,
            #[serde(flatten)]
            request: &'a R,
        }
        let first = !std::mem::replace(&mut self.has_opened, true);
        let version = first.then_some(self.ours);
        let mut line = serde_json::to_vec(&Line { version, request })?;
        line.push(b'\n');
        Ok(line)
    }

    /// What a line of the daemon's brings; `None` where the reply is still to come.
    pub fn hear<T: DeserializeOwned>(&mut self, line: &[u8]) -> Result<Option<T>, ReplyError> {
        match serde_json::from_slice(line).map_err(ReplyError::Garbled)? {
            Reply::Error(reason) => return Err(ReplyError::Refused(reason)),
            Reply::Progress(_) => return Ok(None),
            Reply::Version(daemon) => self.daemon = daemon,
            Reply::Ok(value) => {
                self.check()?;
                return Ok(Some(value));
            }
        }
        self.check().map(|()| None)
    }

    fn check(&self) -> Result<(), ReplyError> {
        Mismatch::check(self.caller, self.ours, self.daemon).map_err(ReplyError::Version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::{Request, Sessions};

    const NEXT: Version = Version { major: 2, minor: 0 };

    fn caller(ours: Version) -> CallerEnd {
        CallerEnd {
            ours,
            ..CallerEnd::new(Caller::Helper)
        }
    }

    /// What a daemon of version `ours` does with a first line: whether it states its version, and whether it refuses.
    fn daemon(ours: Version, line: &[u8]) -> (bool, Result<(), Mismatch>) {
        let theirs = stated_version(line);
        let checked = Mismatch::check(Caller::Helper, theirs.unwrap_or(Version::UNSTATED), ours);
        (theirs.is_some(), checked)
    }

    #[test]
    fn the_first_line_states_the_version() {
        let mut end = CallerEnd::new(Caller::Helper);
        let save = Request::Save {
            domid: 5,
            live: true,
        };
        let first = end.ask(&save).unwrap();
        assert_eq!(
            String::from_utf8(first.clone()).unwrap(),
            "{\"version\":{\"major\":1,\"minor\":1},\"op\":\"save\",\"domid\":5,\"live\":true}\n"
        );
        assert_eq!(stated_version(&first), Some(Version::OURS));
        assert_eq!(serde_json::from_slice::<Request>(&first).unwrap(), save);
        let second = end.ask(&Request::Stop).unwrap();
        assert_eq!(second, b"{\"op\":\"stop\"}\n");
    }

    #[test]
    fn an_old_caller_is_taken_as_long_as_it_is_compatible() {
        let line = br#"{"op":"save","domid":5,"live":true}"#;
        assert_eq!(daemon(Version::OURS, line), (false, Ok(())));
        let (states, refused) = daemon(NEXT, line);
        assert!(!states, "it would not understand that");
        assert_eq!(
            refused.unwrap_err().to_string(),
            "this helper library speaks 1.0, xl-gpud 2.0: packages were upgraded while this save or restore ran; try again"
        );
    }

    #[test]
    fn a_new_caller_takes_an_old_daemon_as_long_as_it_is_compatible() {
        let reply = br#"{"ok":{"sessions":2}}"#;
        let found = caller(Version::OURS).hear::<Sessions>(reply).unwrap();
        assert_eq!(found.unwrap().sessions, 2);
        let error = caller(NEXT).hear::<Sessions>(reply).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this helper library speaks 2.0, xl-gpud 1.0: xl-gpud still runs as it was before an upgrade; \
             restart it (systemctl restart xl-gpud) and try again"
        );
    }

    #[test]
    fn both_ends_refuse_another_major_number() {
        for (theirs, ours) in [(NEXT, Version::OURS), (Version::OURS, NEXT)] {
            let mut end = caller(theirs);
            let line = end.ask(&Request::Restore { domid: 1 }).unwrap();
            let (states, refused) = daemon(ours, &line);
            assert!(states && refused.is_err());
            let hello = serde_json::to_vec(&Reply::<Done>::Version(ours)).unwrap();
            let error = end.hear::<Done>(&hello).unwrap_err().to_string();
            assert_eq!(error, refused.unwrap_err().to_string());
            assert!(
                error.contains(&format!("{theirs}, xl-gpud {ours}")),
                "{error}"
            );
        }
    }

    #[test]
    fn another_minor_number_is_no_trouble() {
        let newer = Version { major: 1, minor: 9 };
        let mut end = CallerEnd::new(Caller::CommandLine);
        let hello = serde_json::to_vec(&Reply::<Done>::Version(newer)).unwrap();
        assert_eq!(end.hear::<Done>(&hello).unwrap(), None);
        assert_eq!(end.hear(br#"{"ok":{}}"#).unwrap(), Some(Done {}));
    }

    #[test]
    fn what_states_no_version_is_old() {
        for line in ["", "[]", "{}", r#"{"op":"status"}"#, r#"{"version":3}"#] {
            assert_eq!(stated_version(line.as_bytes()), None, "{line}");
        }
    }
}
