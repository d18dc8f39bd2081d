//! Looks into XenStore for a domain's GPU sessions, for when `xl-gpud` cannot say.

use channel::link::Residence;
use protocol::xenstore;
use protocol::xenstore::session::{CHANNEL, PROGRAM, PROTOCOL, STATE};
use xen_bindings::{Store, StoreError};

/// The programs with a GPU session in the domain, as a text for a message; `None` when there is none.
///
/// # Errors
/// When XenStore cannot be read.
pub fn describe(domid: u32) -> Result<Option<String>, StoreError> {
    let store = Store::open()?;
    let programs: Result<Vec<String>, StoreError> = announced(&store, domid)?
        .iter()
        .map(|session| program(&store, session))
        .collect();
    Ok(summary(&programs?))
}

/// The programs whose session is not detached or shares pages; `None` when all GPU state has left the domain.
///
/// # Errors
/// When XenStore cannot be read.
pub fn not_detached(domid: u32) -> Result<Option<String>, StoreError> {
    let store = Store::open()?;
    let detached = Residence::Detached.to_string();
    let mut programs = Vec::new();
    for session in announced(&store, domid)? {
        let state = store.read(&format!("{session}/{STATE}"))?;
        let open = store.read(&format!("{session}/{CHANNEL}"))?.is_some();
        if open || state.as_deref() != Some(detached.as_bytes()) {
            programs.push(program(&store, &session)?);
        }
    }
    Ok(summary(&programs))
}

/// Whether there is no XenStore at all: a toolstack without it cannot have started the domain.
pub fn is_elsewhere(error: &StoreError) -> bool {
    matches!(error, StoreError::Library(_) | StoreError::Open(_))
}

/// Folders of the domain's sessions.
fn announced(store: &Store, domid: u32) -> Result<Vec<String>, StoreError> {
    let directory = xenstore::sessions(domid);
    let mut sessions = Vec::new();
    for session in store.directory(&directory)? {
        let session = format!("{directory}/{session}");
        // The guest writes this node last: without it the session is still, or no longer, being made.
        if store.read(&format!("{session}/{PROTOCOL}"))?.is_some() {
            sessions.push(session);
        }
    }
    Ok(sessions)
}

fn program(store: &Store, session: &str) -> Result<String, StoreError> {
    let program = store.read(&format!("{session}/{PROGRAM}"))?;
    let program = program.unwrap_or_default();
    Ok(String::from_utf8_lossy(&program).chars().take(40).collect())
}

fn summary(programs: &[String]) -> Option<String> {
    const NAMED: usize = 5;
    let more = programs.len().saturating_sub(NAMED);
    let named = programs[..programs.len() - more].join(", ");
    match (programs.len(), more) {
        (0, _) => None,
        (_, 0) => Some(named),
        _ => Some(format!("{named} and {more} more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_programs_are_counted() {
        let programs: Vec<String> = (0..7).map(|i| format!("p{i}")).collect();
        assert_eq!(summary(&[]), None);
        assert_eq!(summary(&programs[..2]).unwrap(), "p0, p1");
        assert_eq!(summary(&programs).unwrap(), "p0, p1, p2, p3, p4 and 2 more");
    }
}
