//! A session's nodes are there as long as its process, whatever becomes of its connection: dom0 drops the image of a session that is not
//! announced, and a program that waits for its GPU state would wait for ever.

use crate::client::{Client, End};
use crate::limits::Limits;
use crate::process::Process;
use crate::registry::Seat;
use crate::xen::Xen;
use channel::image::SessionId;
use channel::link::{Residence, which_readable};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Serves one client, and waits for the end of its process where it has a session.
pub(crate) fn serve(
    xen: &dyn Xen,
    limits: &Limits,
    process: &Process,
    seat: &Seat,
    socket: OwnedFd,
) {
    let (end, state) = Client::new(xen, limits, process, seat, socket).serve();
    if let End::Dropped(reason) = &end {
        let (pid, uid) = (process.instance.pid(), process.uid);
        log::warn!("process {pid} of user {uid} is not served any longer: {reason}");
    }
    let Some(session) = seat.session() else {
        return;
    };
    match end {
        End::Superseded => {}
        End::ProcessEnded => remove(xen, session),
        End::HungUp | End::Dropped(_) => {
            // Nothing of what dom0 has may be dropped while the program waits for it.
            let patience = (state == Some(Residence::Attached)).then_some(limits.reconnect);
            outlast(xen, process, seat, session, patience);
        }
    }
}

/// Waits for the process's end, or up to `patience`, and removes the nodes; leaves them to a new connection.
pub(crate) fn outlast(
    xen: &dyn Xen,
    process: &Process,
    seat: &Seat,
    session: SessionId,
    patience: Option<Duration>,
) {
    let deadline = patience.map(|patience| Instant::now() + patience);
    loop {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        match which_readable([process.as_fd(), seat.as_fd()], left) {
            Ok([_, true]) => return,
            Ok([true, false]) => break,
            Ok([false, false]) if left != Some(Duration::ZERO) => {}
            Ok(_) => {
                log::warn!("session {session}: its process does not come back");
                break;
            }
            Err(e) => return log::error!("session {session}: {e}"),
        }
    }
    remove(xen, session);
}

fn remove(xen: &dyn Xen, session: SessionId) {
    match xen.remove(session) {
        Ok(()) => log::info!("session {session} has ended"),
        Err(e) => log::warn!("session {session}: its nodes are left: {e}"),
    }
}
