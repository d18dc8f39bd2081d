//! A migration that has failed: the programs go on here, and the helper has to hear of it.

use super::error::MigrationError;
use super::outgoing::Outgoing;
use crate::capture::Capture;
use crate::domain_lock::DomainLock;
use crate::laps::Laps;
use channel::image::SessionKey;

/// The programs have their GPU state back, or will have it.
pub struct Aborted<'d> {
    pub(super) out: Outgoing<'d>,
    lock: DomainLock,
    /// Sessions whose GPU state is in the spool alone.
    detached: Vec<SessionKey>,
    /// They run since the gate closed, where it is closed.
    laps: Option<Laps>,
    /// Why.
    pub(super) error: MigrationError,
}

impl<'d> Aborted<'d> {
    /// Puts back what `capture` has taken.
    pub fn undo(
        out: Outgoing<'d>,
        lock: DomainLock,
        capture: Capture,
        error: impl Into<MigrationError>,
    ) -> Box<Self> {
        let aborted = Aborted::detached(out, lock, Vec::new(), None, error);
        capture.undo(&aborted.out.daemon.images);
        aborted
    }

    /// The sessions of `detached` will be served as soon as they can be.
    pub fn detached(
        out: Outgoing<'d>,
        lock: DomainLock,
        detached: Vec<SessionKey>,
        laps: Option<Laps>,
        error: impl Into<MigrationError>,
    ) -> Box<Self> {
        let error = out.reason(error);
        log::error!("domain {}: {error}", out.domid);
        Box::new(Aborted {
            out,
            lock,
            detached,
            laps,
            error,
        })
    }

    /// The helper knows: the domain is free for whoever resumes it.
    pub fn end(self: Box<Self>) -> MigrationError {
        let Aborted {
            out,
            lock,
            detached,
            laps,
            error,
        } = *self;
        let (server, domid) = (&out.daemon.server, out.domid);
        out.end(laps, Some(&error));
        server.when_resumed(domid, &detached, &lock);
        drop(lock);
        server.look(domid);
        error
    }
}
