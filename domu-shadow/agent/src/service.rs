//! The socket, and a thread for each client: one that is slow or hostile holds up itself.

use crate::lifetime;
use crate::limits::Limits;
use crate::process::Process;
use crate::registry::Registry;
use crate::xen::Xen;
use channel::agent::Answer;
use channel::datagram;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A thread needs little.
const STACK: usize = 256 << 10;
/// Least time between two lines about clients that are turned away.
const QUIET: Duration = Duration::from_secs(10);

/// Listens at `path`, for its own user and group; a socket left over there is replaced.
///
/// # Errors
/// What making the socket said.
pub fn bind(path: &Path) -> io::Result<OwnedFd> {
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e.into()),
    }
    let socket = datagram::seqpacket()?;
    rustix::net::bind(&socket, &datagram::address(path)?)?;
    rustix::fs::chmod(path, Mode::from_raw_mode(0o660))?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket)
}

/// An agent.
pub struct Service {
    xen: Arc<dyn Xen>,
    limits: Limits,
    registry: Arc<Registry>,
    threads: Arc<AtomicUsize>,
}

/// Counts a thread.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> (Counted, usize) {
        let before = count.fetch_add(1, Ordering::Relaxed);
        (Counted(count.clone()), before)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Service {
    /// One that has no clients yet.
    pub fn new(xen: Arc<dyn Xen>, limits: Limits) -> Service {
        Service {
            xen,
            limits,
            registry: Registry::new(limits),
            threads: Arc::default(),
        }
    }

    /// Takes over the sessions of an earlier agent, which will connect anew, and serves clients at `listener` for ever.
    ///
    /// # Errors
    /// What XenStore or the listening socket said.
    pub fn run(&self, listener: BorrowedFd<'_>) -> io::Result<std::convert::Infallible> {
        self.take_over()?;
        let mut told: Option<Instant> = None;
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = match rustix::net::accept_with(listener, flags) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(e @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)) => {
                    log::warn!("no client can be served now: {e}");
                    thread::sleep(Duration::from_millis(100));
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
            if let Err(reason) = self.admit(&socket) {
                let reason = reason.to_string();
                if told.is_none_or(|at| at.elapsed() >= QUIET) {
                    told = Some(Instant::now());
                    log::warn!("a program is turned away: {reason}");
                }
                let _ = datagram::send(&socket, &Answer::Refused(reason), &[]);
            }
        }
    }

    fn admit(&self, socket: &OwnedFd) -> Result<(), Box<dyn std::error::Error>> {
        let process = Process::of_peer(socket)?;
        let seat = self.registry.enter(&process)?;
        let socket = socket.try_clone()?;
        let (xen, limits) = (self.xen.clone(), self.limits);
        self.spawn(move || lifetime::serve(&*xen, &limits, &process, &seat, socket))
    }

    fn take_over(&self) -> io::Result<()> {
        for left in self.xen.left_behind()? {
            let process = Process::of(left.instance.pid(), left.uid);
            let process = process.ok().filter(|p| p.instance == left.instance);
            let Some(process) = process else {
                log::info!("session {}: its process has ended", left.session);
                self.xen.remove(left.session)?;
                continue;
            };
            let seat = self.registry.readmit(&process, left.session);
            let seat = seat.map_err(io::Error::other)?;
            let xen = self.xen.clone();
            // Where its GPU state is, the session says when it connects.
            let waiting = move || lifetime::outlast(&*xen, &process, &seat, left.session, None);
            self.spawn(waiting)
                .map_err(|e| io::Error::other(e.to_string()))?;
        }
        Ok(())
    }

    fn spawn(
        &self,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let (counted, others) = Counted::new(&self.threads);
        // A process that connects again and again has its earlier threads end, which takes them a moment.
        if others >= 2 * self.limits.sessions {
            return Err("too many programs connect at the same time".into());
        }
        thread::Builder::new()
            .name("client".into())
            .stack_size(STACK)
            .spawn(move || {
                let _counted = counted;
                work();
            })?;
        Ok(())
    }
}
