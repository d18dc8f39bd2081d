//! Who this process is, for dom0 and for other sessions of the same guest.

use channel::image::SessionId;
use std::io::{self, Read};
use xen_session::instance::Instance;

/// Names that stay the same over every move.
pub(super) struct Identity {
    pub session: SessionId,
    pub pid: u32,
    pub program: String,
    /// Tells this process from a later one with its pid, and from one of another pid namespace.
    pub instance: Instance,
}

impl Identity {
    pub(super) fn new() -> io::Result<Self> {
        let mut random = [0; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let pid = std::process::id();
        let program = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
        Ok(Identity {
            session: SessionId(random),
            pid,
            program: program.trim_end().to_owned(),
            instance: Instance::of(pid)?,
        })
    }
}
