//! The daemon's socket: one JSON object a line, one thread a connection.

use super::Daemon;
use super::steering;
use super::{doctor, manual, migrate, receive, rehearse, status};
use protocol::control::{Control, Forgotten};
use protocol::conversation::{Caller, LINE_MAX, Mismatch, Reply, Version, stated_version};
use protocol::helper::Request;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Most connections at a time.
const MAX_CONNECTIONS: usize = 64;
/// How often a working daemon looks whether its peer is still there.
const TICK: Duration = Duration::from_millis(100);
/// After how many ticks it says that it is.
const PROGRESS: u32 = 10;

/// Makes the socket; only root (and the daemon's own user) may connect.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent()
        && !folder.exists()
    {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("another xl-gpud listens at {}", path.display()),
        ));
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves connections for ever.
pub fn serve(daemon: &Arc<Daemon>, listener: &UnixListener) {
    let connections = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let stream = match stream.and_then(allowed) {
            Ok(stream) => stream,
            Err(e) => {
                log::warn!("a connection was not taken: {e}");
                // What is short (descriptors, say) will be for a while.
                std::thread::sleep(TICK);
                continue;
            }
        };
        let counted = Counted::new(&connections);
        let daemon = daemon.clone();
        let thread = std::thread::Builder::new().spawn(move || {
            let mut talk = Conversation::new(stream);
            if counted.0.load(Ordering::Relaxed) > MAX_CONNECTIONS {
                return talk.refuse("too many connections; try again");
            }
            converse(&daemon, &mut talk);
        });
        if let Err(e) = thread {
            log::error!("a connection was closed, no thread can be had for it: {e}");
            std::thread::sleep(TICK);
        }
    }
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The file's mode keeps others out; this holds where a folder of another mode was named.
fn allowed(stream: UnixStream) -> io::Result<UnixStream> {
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    if peer.uid.is_root() || peer.uid == rustix::process::geteuid() {
        return Ok(stream);
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("user {} may not speak with xl-gpud", peer.uid.as_raw()),
    ))
}

fn converse(daemon: &Arc<Daemon>, talk: &mut Conversation) {
    let mut versions_agree = false;
    loop {
        let line = match talk.line() {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(e) => return talk.refuse(&e.to_string()),
        };
        // The plugin's requests and the CLI's share the field `op`, and no value of it.
        let helper = serde_json::from_slice::<Request>(&line);
        if !versions_agree {
            let caller = match helper.is_ok() {
                true => Caller::Helper,
                false => Caller::CommandLine,
            };
            if let Err(mismatch) = talk.compare_versions(caller, &line) {
                log::warn!("a conversation is refused: {mismatch}");
                return talk.refuse(&mismatch.to_string());
            }
            versions_agree = true;
        }
        if let Ok(request) = helper {
            let fd = talk.descriptor.take();
            return match request {
                Request::Save { domid, .. } => migrate::converse(daemon, talk, domid, fd),
                Request::Restore { domid } => receive::converse(daemon, talk, domid, fd),
                other => talk.refuse(&format!("{other:?} without `save` or `restore` before it")),
            };
        }
        match serde_json::from_slice::<Control>(&line) {
            Ok(control) => match obey(daemon, talk, control) {
                Ok(value) => talk.answer(value),
                Err(reason) => talk.refuse(&reason),
            },
            Err(e) => talk.refuse(&format!("no request of xl-gpud's: {e}")),
        }
    }
}

fn obey(daemon: &Arc<Daemon>, talk: &Conversation, control: Control) -> Result<Value, String> {
    let cancelled = Arc::new(AtomicBool::new(false));
    match control {
        Control::Status => status::status(daemon).map(|s| json!(s)),
        Control::Request { domid, request } => talk
            .work(&cancelled, || {
                manual::run(daemon, domid, request, &cancelled)
            })
            .map(|outcome| json!(outcome)),
        Control::Steer { domid, order } => {
            steering::order(daemon, domid, order).map(|()| json!({}))
        }
        Control::Report { domid } => daemon
            .reports
            .get(domid)
            .map(|report| json!(report))
            .ok_or_else(|| format!("there is no report of domain {domid}")),
        Control::Doctor {
            domain,
            save_helper,
        } => talk
            .work(&cancelled, || doctor::examine(daemon, &domain, save_helper))
            .map(|diagnosis| json!(diagnosis)),
        Control::Forget { domid, session } => {
            status::forget(daemon, domid, session).map(|images| json!(Forgotten { images }))
        }
        Control::MigrateLoopback { domid, session } => talk
            .work(&cancelled, || {
                rehearse::run(daemon, domid, session, &cancelled)
            })
            .map(|report| json!(report)),
    }
}

/// One connection.
#[derive(Debug)]
pub struct Conversation {
    stream: UnixStream,
    received: Vec<u8>,
    descriptor: Option<OwnedFd>,
}

impl Conversation {
    /// A fresh one.
    pub fn new(stream: UnixStream) -> Self {
        Conversation {
            stream,
            received: Vec::new(),
            descriptor: None,
        }
    }

    /// The next line; `None` at the end. A descriptor that came along is kept.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.received.iter().position(|b| *b == b'\n') {
                let mut line: Vec<u8> = self.received.drain(..=end).collect();
                line.pop();
                return Ok(Some(line));
            }
            if self.received.len() > LINE_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("a line of more than {LINE_MAX} bytes"),
                ));
            }
            if self.receive()? == 0 {
                return Ok(None);
            }
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            match rustix::net::recvmsg(
                &self.stream,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Ok(0),
                result => break result?,
            }
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                // The last one wins; others close here.
                fds.for_each(|fd| self.descriptor = Some(fd));
            }
        }
        self.received.extend_from_slice(&bytes[..got.bytes]);
        Ok(got.bytes)
    }

    /// The next request; `None` where the peer has gone.
    pub fn request<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        match self.line()? {
            None => Ok(None),
            Some(line) => Ok(Some(serde_json::from_slice(&line)?)),
        }
    }

    /// Answers a first line's version with ours.
    fn compare_versions(&self, caller: Caller, first_line: &[u8]) -> Result<(), Mismatch> {
        let theirs = stated_version(first_line);
        if theirs.is_some()
            && let Err(e) = self.reply(&Reply::Version(Version::OURS))
        {
            log::debug!("the version was not taken: {e}");
        }
        Mismatch::check(caller, theirs.unwrap_or(Version::UNSTATED), Version::OURS)
    }

    fn reply(&self, reply: &Reply<Value>) -> io::Result<()> {
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        (&self.stream).write_all(&line)
    }

    /// Answers the last request. A peer that has gone is noticed at the next read.
    pub fn answer(&self, value: Value) {
        if let Err(e) = self.reply(&Reply::Ok(value)) {
            log::debug!("an answer was not taken: {e}");
        }
    }

    /// Refuses the last request.
    pub fn refuse(&self, reason: &str) {
        if let Err(e) = self.reply(&Reply::Error(reason.to_owned())) {
            log::debug!("a refusal was not taken: {e}");
        }
    }

    fn has_hung_up(&self) -> bool {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0) && fds[0].revents().intersects(gone)
    }

    /// Does `work` while the peer hears that it goes on; a peer that hangs up sets `cancelled`.
    pub fn work<T>(&self, cancelled: &AtomicBool, work: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            let (done, over) = channel::<()>();
            scope.spawn(move || {
                let mut ticks = 0;
                while let Err(RecvTimeoutError::Timeout) = over.recv_timeout(TICK) {
                    ticks += 1;
                    let speak = ticks % PROGRESS == 0;
                    if self.has_hung_up()
                        || speak && self.reply(&Reply::Progress(json!({}))).is_err()
                    {
                        return cancelled.store(true, Ordering::Relaxed);
                    }
                }
            });
            let result = work();
            drop(done);
            result
        })
    }
}
