//! The socket, and a thread for each client: one that is slow or hostile holds up itself.

use crate::announcement::short;
use crate::lifetime;
use crate::limits::Limits;
use crate::process::{Process, Unknown};
use crate::registry::{Registry, Seat};
use crate::xen::Xen;
use channel::agent::Answer;
use channel::datagram;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// A thread needs little.
const STACK: usize = 256 << 10;
/// Least time between two lines about clients that are turned away.
const QUIET: Duration = Duration::from_secs(10);

/// Listens at `path`, for every user; a socket left over there is replaced.
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
    rustix::fs::chmod(path, Mode::from_raw_mode(0o666))?;
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
    /// What the listening socket said.
    pub fn run(&self, listener: BorrowedFd<'_>) -> io::Result<std::convert::Infallible> {
        self.take_over();
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
                self.turn_away(&socket, reason.to_string(), &mut told);
            }
        }
    }

    /// Says no to a client, and not too often to the log.
    fn turn_away(&self, socket: &OwnedFd, reason: String, told: &mut Option<Instant>) {
        if told.is_none_or(|at| at.elapsed() >= QUIET) {
            *told = Some(Instant::now());
            log::warn!("a program is turned away: {reason}");
        }
        // As a courtesy: a client that does not read learns nothing.
        let _ = datagram::send(socket, &Answer::Refused(reason), &[]);
    }

    /// The thread first: a seat that is taken is somebody's to look after. And in the order in which clients came: the last one of a
    /// process has its seat.
    fn admit(&self, socket: &OwnedFd) -> Result<(), Box<dyn std::error::Error>> {
        let (xen, limits) = (self.xen.clone(), self.limits);
        let (seated, comes) = mpsc::channel::<(Process, Seat, OwnedFd)>();
        self.spawn(move || {
            if let Ok((process, seat, socket)) = comes.recv() {
                lifetime::serve(&*xen, &limits, &process, &seat, socket);
            }
        })?;
        let socket = socket.try_clone()?;
        let process = Process::of_peer(&socket)?;
        let seat = self.registry.enter(&process)?;
        Ok(seated.send((process, seat, socket))?)
    }

    /// One that cannot be told about is left as it is, for its process to connect.
    fn take_over(&self) {
        let left = self.xen.left_behind().unwrap_or_else(|e| {
            log::warn!("sessions of an earlier agent: {e}");
            Vec::new()
        });
        let mut waiting = Vec::new();
        for left in left {
            let remove = || {
                log::info!("session {}: its process has ended", short(left.session));
                if let Err(e) = self.xen.remove(left.session) {
                    log::warn!("{e}");
                }
            };
            match Process::of(left.instance.pid(), left.uid) {
                Ok(process) if process.instance == left.instance => {
                    match self.registry.readmit(&process, left.session) {
                        Ok(seat) => waiting.push((process, seat, left.session)),
                        Err(e) => log::warn!("session {}: {e}", short(left.session)),
                    }
                }
                Ok(_) | Err(Unknown::Ended { .. }) => remove(),
                // Its user may have changed, or `/proc` be hidden: no proof that it has ended.
                Err(e) => log::warn!("session {}: {e}", short(left.session)),
            }
        }
        let xen = self.xen.clone();
        if let Err(e) = self.spawn(move || lifetime::outlast_all(&*xen, waiting)) {
            log::warn!("sessions of an earlier agent: {e}");
        }
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
