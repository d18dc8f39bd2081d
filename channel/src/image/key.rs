//! Names of sessions and of the images they leave.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A session's random identity, 16 octets; 32 lower-case hexadecimal digits as text (XenStore, JSON).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

/// A text that is no [`SessionId`].
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a session id (32 lower-case hexadecimal digits)")]
pub struct BadSessionId(pub String);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl FromStr for SessionId {
    type Err = BadSessionId;

    /// Exactly one spelling is accepted, so that two different XenStore nodes never mean one session.
    fn from_str(text: &str) -> Result<Self, BadSessionId> {
        let bad = || BadSessionId(text.chars().take(40).collect());
        let canonical = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if text.len() != 32 || !text.bytes().all(canonical) {
            return Err(bad());
        }
        u128::from_str_radix(text, 16)
            .map(|value| SessionId(value.to_be_bytes()))
            .map_err(|_| bad())
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One image: the state a session left at one of its captures.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct SessionKey {
    /// The session.
    pub session: SessionId,
    /// Counts the session's captures, so that a session never gets an older image back by mistake.
    pub generation: u64,
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.session, self.generation)
    }
}
