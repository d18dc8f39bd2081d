//! The guest is suspended, or should have been; whoever resumes it has its sessions served.

use super::error::MigrationError;
use super::outgoing::Outgoing;
use crate::laps::Laps;
use protocol::blackout::Part;

/// The domain is out of this migration's hands, and its memory on the way.
pub struct Suspended<'d> {
    pub(super) out: Outgoing<'d>,
    pub(super) laps: Laps,
    /// Why the suspend is taken back, if it is.
    pub(super) taken_back: Option<MigrationError>,
}

impl Suspended<'_> {
    /// The helper has said its last word; `failed` says why it was for nothing.
    pub fn end(mut self, failed: Option<MigrationError>) {
        let (daemon, domid) = (self.out.daemon, self.out.domid);
        // Not suspended: it did not go.
        if self.out.report.blackout.get(Part::Suspend).is_some() {
            self.laps.end(Part::Transfer);
            self.out.report.blackout = self.laps.so_far();
        }
        self.out.end(Some(self.laps), self.taken_back.or(failed));
        daemon.server.look(domid);
    }
}
