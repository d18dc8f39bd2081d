//! A session's nodes are there as long as its process, whatever becomes of its connection: dom0 drops the image of a session that is not
//! announced, and a program that waits for its GPU state would wait for ever.

use crate::announcement::{short, text};
use crate::client::{Client, End};
use crate::limits::Limits;
use crate::process::Process;
use crate::registry::Seat;
use crate::xen::Xen;
use channel::image::SessionId;
use channel::link::{Residence, which_readable};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Longest reason in the log, in bytes.
const REASON: usize = 400;

/// Serves one client, and waits for the end of its process where it has a session.
pub(crate) fn serve(
    xen: &dyn Xen,
    limits: &Limits,
    process: &Process,
    seat: &Seat,
    socket: OwnedFd,
) {
    let (end, announced) = Client::new(xen, limits, process, seat, socket).serve();
    if let End::Dropped(reason) = &end {
        let (pid, uid) = (process.instance.pid(), process.uid);
        let reason = text(reason, REASON);
        log::warn!("process {pid} of user {uid} is not served any longer: {reason}");
    }
    let held = seat.session();
    // The process has another name by now, or none: nobody else looks after this one.
    if let Some((announced, _)) = announced
        && held != Some(announced)
    {
        remove(xen, announced);
    }
    let Some(session) = held else {
        return;
    };
    match end {
        End::Superseded => {}
        End::ProcessEnded => remove(xen, session),
        End::HungUp | End::Dropped(_) => {
            // Nothing of what dom0 has may be dropped while the program waits for it.
            let is_attached = announced.is_some_and(|(_, state)| state == Residence::Attached);
            let patience = is_attached.then_some(limits.reconnect);
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
                log::warn!("session {}: its process does not come back", short(session));
                break;
            }
            Err(e) => return log::error!("session {}: {e}", short(session)),
        }
    }
    remove(xen, session);
}

/// The same for sessions whose processes have not connected yet. Where their GPU state is, they say when they do.
pub(crate) fn outlast_all(xen: &dyn Xen, mut waiting: Vec<(Process, Seat, SessionId)>) {
    while !waiting.is_empty() {
        let fds = waiting
            .iter()
            .flat_map(|(process, seat, _)| [process.as_fd(), seat.as_fd()]);
        let mut fds: Vec<PollFd<'_>> = fds
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return log::error!("sessions of an earlier agent: {e}"),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut ready = ready.chunks_exact(2);
        waiting.retain(|(_, _, session)| match ready.next() {
            Some([_, true]) => false,
            Some([true, _]) => {
                remove(xen, *session);
                false
            }
            _ => true,
        });
    }
}

fn remove(xen: &dyn Xen, session: SessionId) {
    match xen.remove(session) {
        Ok(()) => log::info!("session {} has ended", short(session)),
        Err(e) => log::warn!("session {}: its nodes are left: {e}", short(session)),
    }
}
