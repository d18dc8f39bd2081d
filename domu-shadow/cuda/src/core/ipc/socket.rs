//! How a descriptor gets from one process to another of the same user: over an abstract Unix socket, one connection each.
//!
//! The one that gives it may take long to do so, as a move may be under way. It says at once that it has heard.
//!
//! `unsafe`: rustix holds that no peer's process id is 0, but one of another PID namespace's is.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind,
    connect, listen, recvmsg, sendmsg, socket_with,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Bytes of a request.
pub const REQUEST: usize = 64;

/// How long the other side has for what takes no time.
const AT_ONCE: Duration = Duration::from_secs(10);
/// How long one that has connected has to say what it wants: others wait behind it.
const A_MOMENT: Duration = Duration::from_secs(1);
/// How long a move may keep it from giving.
const MOVING: Duration = Duration::from_secs(300);
const BACKLOG: i32 = 128;

/// It has the request, and the descriptor may take its time.
const HEARD: u8 = 1;
/// The descriptor comes with it.
const GIVEN: u8 = 2;
const REFUSED: u8 = 3;

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("it does not listen any more: {0}")]
    Unreachable(io::Error),
    #[error("another user listens in its place ({0})")]
    Stranger(u32),
    #[error("it has ended")]
    Ended,
    #[error("it does not answer for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("it has freed the memory, or never gave this handle")]
    Refused,
    #[error("the connection failed: {0}")]
    Connection(#[from] io::Error),
}

impl From<rustix::io::Errno> for AskError {
    fn from(error: rustix::io::Errno) -> AskError {
        AskError::Connection(error.into())
    }
}

fn new() -> rustix::io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    set_socket_timeout(&socket, Timeout::Send, Some(AT_ONCE))?;
    Ok(socket)
}

/// The process at the other end, 0 where it is in another namespace, and its user: of the listener when it began to listen.
fn peer(socket: &OwnedFd) -> io::Result<(i32, u32)> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    let to = (&raw mut peer).cast();
    // SAFETY: the kernel writes at most `len` bytes to this function's variable.
    match unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, to, &raw mut len) } {
        0 => Ok((peer.pid, peer.uid)),
        _ => Err(io::Error::last_os_error()),
    }
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn send(socket: &OwnedFd, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let descriptor = descriptor.as_slice();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptor.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptor));
    }
    let parts = [IoSlice::new(bytes)];
    sendmsg(socket, &parts, &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// One message: how long it is, and the descriptor with it.
fn receive(socket: &OwnedFd, to: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(to)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(socket, &mut parts, &mut ancillary, flags)?;
    let descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok((message.bytes, descriptors.flatten().next()))
}

/// Where requests come in.
pub struct Listener(OwnedFd);

impl Listener {
    /// # Errors
    /// The kernel's.
    pub fn new(name: &str) -> io::Result<Listener> {
        let socket = new()?;
        bind(
            &socket,
            &SocketAddrUnix::new_abstract_name(name.as_bytes())?,
        )?;
        listen(&socket, BACKLOG)?;
        Ok(Listener(socket))
    }

    /// Waits for the next request of this user's, or root's.
    ///
    /// # Errors
    /// Of one connection, or of all.
    pub fn next(&self) -> io::Result<Request> {
        let socket = loop {
            let socket = accept_with(&self.0, SocketFlags::CLOEXEC)?;
            let (process, of) = peer(&socket)?;
            if of == user() || of == 0 {
                break socket;
            }
            log::debug!("user {of} asks for memory (process {process})");
        };
        set_socket_timeout(&socket, Timeout::Send, Some(AT_ONCE))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(A_MOMENT))?;
        let mut bytes = [0; REQUEST];
        match receive(&socket, &mut bytes)?.0 {
            REQUEST => Ok(Request { socket, bytes }),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Somebody waits for a descriptor.
pub struct Request {
    socket: OwnedFd,
    pub bytes: [u8; REQUEST],
}

impl Request {
    /// [`Request::give`] or [`Request::refuse`] follows.
    ///
    /// # Errors
    /// The connection's.
    pub fn heard(&self) -> io::Result<()> {
        send(&self.socket, &[HEARD], None)
    }

    /// # Errors
    /// The connection's.
    pub fn give(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        send(&self.socket, &[GIVEN], Some(descriptor))
    }

    /// # Errors
    /// The connection's.
    pub fn refuse(&self) -> io::Result<()> {
        send(&self.socket, &[REFUSED], None)
    }
}

/// The two sides of a wait: what the other one says, and its end. Who was forked by it may keep the connection open.
struct Exporter {
    socket: OwnedFd,
    process: Option<OwnedFd>,
}

impl Exporter {
    fn message(&self, within: Duration) -> Result<(u8, Option<OwnedFd>), AskError> {
        let mut ends = vec![PollFd::new(&self.socket, PollFlags::IN)];
        let process = self.process.as_ref();
        ends.extend(process.map(|process| PollFd::new(process, PollFlags::IN)));
        let timeout = within.try_into().ok();
        let ready = loop {
            match poll(&mut ends, timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => (),
                ready => break ready?,
            }
        };
        if ready == 0 {
            return Err(AskError::Silent(within));
        }
        if ends[0].revents().is_empty() {
            return Err(AskError::Ended);
        }
        let mut byte = [0];
        match receive(&self.socket, &mut byte)? {
            (0, _) => Err(AskError::Ended),
            (_, descriptor) => Ok((byte[0], descriptor)),
        }
    }
}

/// Asks the one that listens by this name for a descriptor.
///
/// # Errors
/// Why there is none.
pub fn ask(name: &str, request: &[u8; REQUEST]) -> Result<OwnedFd, AskError> {
    let socket = new()?;
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    connect(&socket, &address).map_err(|error| AskError::Unreachable(error.into()))?;
    let (process, of) = peer(&socket)?;
    let this = user();
    if of != this && this != 0 {
        return Err(AskError::Stranger(of));
    }
    let process = Pid::from_raw(process).map(|process| pidfd_open(process, PidfdFlags::empty()));
    let process = match process {
        Some(Err(rustix::io::Errno::SRCH)) => return Err(AskError::Ended),
        process => process.and_then(Result::ok),
    };
    let exporter = Exporter { socket, process };
    send(&exporter.socket, request, None)?;
    // Before it comes to this request, a move may keep it from giving what another one has asked for.
    let mut said = exporter.message(MOVING)?;
    if said.0 == HEARD {
        said = exporter.message(MOVING)?;
    }
    match said {
        (GIVEN, Some(descriptor)) => Ok(descriptor),
        _ => Err(AskError::Refused),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::thread;

    use super::*;

    fn name(test: &str) -> String {
        format!("xl-gpu-test-{test}-{}", std::process::id())
    }

    const REQUESTED: [u8; REQUEST] = [7; REQUEST];

    #[test]
    fn a_descriptor_comes_over() {
        let name = name("over");
        let listener = Listener::new(&name).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let serving = thread::spawn(move || {
            let request = listener.next().unwrap();
            assert_eq!(request.bytes, REQUESTED);
            request.heard().unwrap();
            request.give(reader.as_fd()).unwrap();
        });
        let got = ask(&name, &REQUESTED).unwrap();
        serving.join().unwrap();
        let flags = rustix::io::fcntl_getfd(&got).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        std::io::Write::write_all(&mut &writer, b"through").unwrap();
        drop(writer);
        let mut text = String::new();
        File::from(got).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn whoever_is_refused_or_forgotten_hears_why() {
        let name = name("refused");
        let ask = || ask(&name, &REQUESTED).unwrap_err();
        assert!(matches!(ask(), AskError::Unreachable(_)));
        let listener = Listener::new(&name).unwrap();
        let serving = thread::spawn(move || {
            let request = listener.next().unwrap();
            request.heard().unwrap();
            request.refuse().unwrap();
            // The connection breaks before the answer, and before the descriptor.
            drop(listener.next().unwrap());
            listener.next().unwrap().heard().unwrap();
            listener
        });
        assert!(matches!(ask(), AskError::Refused));
        assert!(matches!(ask(), AskError::Ended));
        assert!(matches!(ask(), AskError::Ended));
        drop(serving.join().unwrap());
        assert!(matches!(ask(), AskError::Unreachable(_)));
    }

    /// A child that the exporter forked has the listener's descriptor, and nobody who accepts.
    #[test]
    fn an_exporter_that_ended_is_not_waited_for() {
        let name = name("ended");
        let (stay, mut go) = std::io::pipe().unwrap();
        // SAFETY: the children make system calls, and allocate only what glibc lets them.
        let exporter = unsafe { libc::fork() };
        if exporter == 0 {
            let listener = Listener::new(&name);
            // SAFETY: as above.
            let heir = unsafe { libc::fork() };
            if heir == 0 {
                drop(go);
                let _ = (&stay).read(&mut [0]);
                drop(listener);
            }
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(i32::from(heir < 0)) };
        }
        let mut status = 0;
        // SAFETY: a child of this process's, and this function's variable.
        unsafe { libc::waitpid(exporter, &raw mut status, 0) };
        assert_eq!(status, 0);
        let error = ask(&name, &REQUESTED).unwrap_err();
        assert!(matches!(error, AskError::Ended), "{error:?}");
        std::io::Write::write_all(&mut go, &[0]).unwrap();
    }
}
