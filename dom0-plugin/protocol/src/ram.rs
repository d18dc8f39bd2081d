//! What the daemon asks of RAM pre-copy, and what it is told.

use serde::{Deserialize, Serialize};

/// How RAM is to be pre-copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RamLimits {
    /// Threads that map and hash, at most.
    pub threads: u32,
    /// Passes before the devices are detached, at most.
    pub passes: u32,
    /// No more passes when one has sent no more bytes than this.
    pub enough: u64,
}

/// What has been done so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RamFigures {
    /// Before the devices were detached.
    pub passes: Vec<RamPass>,
    /// The search for unchanged pages, after.
    pub scan: Option<RamScan>,
    /// Bytes libxc has sent once the devices were away.
    pub bytes_after_detach: Option<u64>,
    /// Memory that the digests took.
    #[serde(default)]
    pub digest_bytes: u64,
    /// Why memory went out as a whole after all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_up: Option<String>,
}

/// One pass.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RamPass {
    /// Bytes sent.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

/// The search for unchanged pages.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RamScan {
    /// Pages compared.
    pub pages: u64,
    /// Of them not sent again.
    pub unchanged: u64,
    /// How long it took.
    pub seconds: f64,
    /// With how many threads.
    pub threads: u32,
}
