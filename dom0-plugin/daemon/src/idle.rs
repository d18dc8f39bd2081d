//! Whether the daemon could end now: an upgrade restarts it then, and a package may go if nothing is kept for guests either.

use crate::daemon::Daemon;
use protocol::control::Idleness;
use std::io;

/// What is under way and what is kept.
///
/// # Errors
/// Where either cannot be told: then nobody may take the daemon for idle.
pub fn idleness(daemon: &Daemon) -> io::Result<Idleness> {
    let under_way = daemon.locks.all().into_iter();
    let under_way = under_way.map(|(domid, what)| format!("domain {domid}: {what}"));
    let mut kept = Vec::new();
    for domid in daemon.images.domains() {
        let count = daemon.images.list(domid).len();
        kept.push(format!("domain {domid}: the GPU state of {count} sessions"));
    }
    if let Some(toolstack) = daemon.carrier.toolstack() {
        for domain in daemon.carrier.domains()? {
            for taken in toolstack.record(domain.domid)? {
                let (domid, device) = (domain.domid, taken.device);
                kept.push(format!("domain {domid}: its device {device}"));
            }
        }
    }
    Ok(Idleness {
        under_way: under_way.collect(),
        kept,
    })
}
