//! Exit statuses: scripts go by them.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Not done; standard error says why.
    Failed = 1,
    /// `doctor` has found that a migration would be refused, or that the host is not ready for one.
    CannotMigrate = 2,
    /// `idle` has found that the daemon works for a guest.
    NotIdle = 3,
    /// The command line makes no sense (`EX_USAGE` of sysexits.h): told from what `doctor` finds.
    Usage = 64,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}
