//! What an examination of a domain finds: `xl-gpu doctor`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What an examination came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The domain.
    pub domid: u32,
    /// Its name.
    pub name: String,
    /// Its sessions.
    pub sessions: usize,
    /// Nothing that is known would refuse a migration.
    pub can_migrate: bool,
    /// What was found, errors first.
    pub findings: Vec<Finding>,
}

/// What a finding means for a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The migration is refused.
    Error,
    /// It may fail, or cost more than it need.
    Warning,
    /// Good to know.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it means.
    pub severity: Severity,
    /// What it is about: a session, a device, the spool.
    pub subject: String,
    /// What was found.
    pub what: String,
    /// What to do about it; empty where nothing need be done.
    pub remedy: String,
}

impl Finding {
    fn new(severity: Severity, subject: &str, what: impl Into<String>) -> Self {
        Finding {
            severity,
            subject: subject.to_owned(),
            what: what.into(),
            remedy: String::new(),
        }
    }

    /// The domain cannot be migrated.
    pub fn error(subject: &str, what: impl Into<String>) -> Self {
        Finding::new(Severity::Error, subject, what)
    }

    /// It can, but.
    pub fn warning(subject: &str, what: impl Into<String>) -> Self {
        Finding::new(Severity::Warning, subject, what)
    }

    /// Good to know.
    pub fn note(subject: &str, what: impl Into<String>) -> Self {
        Finding::new(Severity::Note, subject, what)
    }

    /// What to do about it.
    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        Finding {
            remedy: remedy.into(),
            ..self
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.what)?;
        match self.remedy.is_empty() {
            true => Ok(()),
            false => write!(f, "; {}", self.remedy),
        }
    }
}
