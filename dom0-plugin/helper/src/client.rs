//! The plugin's end of the conversation with `xl-gpud`.
//!
//! Nothing here can block for ever or kill the helper: the socket does not block, every wait has an end, and a peer
//! that went away is an error and no SIGPIPE.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags,
};
use serde::de::DeserializeOwned;

use protocol::conversation::{
    Caller, CallerEnd, LINE_MAX, Mismatch, ReplyError, SOCKET, SOCKET_VARIABLE,
};
use protocol::helper::Request;

/// How often a waiting plugin looks whether the save was cancelled.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("xl-gpud is not there ({path}: {source})")]
    Absent { path: PathBuf, source: io::Error },
    #[error("xl-gpud ended the conversation ({0})")]
    Lost(io::Error),
    #[error("xl-gpud has said nothing for {0:?}")]
    Silent(Duration),
    #[error("xl-gpud said something that makes no sense: {error} in {line:?}")]
    Garbled {
        error: serde_json::Error,
        line: String,
    },
    #[error("xl-gpud said something that makes no sense: a line of more than {LINE_MAX} bytes")]
    TooLong,
    #[error("xl-gpud said something that makes no sense: record {0:#010x} was handed back")]
    HandedBack(u32),
    #[error("a request cannot be written: {0}")]
    Request(serde_json::Error),
    /// The daemon's own words.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Version(Mismatch),
    #[error("the operation was cancelled")]
    Cancelled,
}

/// One conversation. Dropped without [`Request::Done`] it is an abort for the daemon.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    end: CallerEnd,
    received: Vec<u8>,
}

impl Client {
    /// Connects to the socket that the environment names, else to [`SOCKET`].
    ///
    /// # Errors
    /// [`ClientError::Absent`], also when the daemon's queue of connections is full.
    pub fn connect() -> Result<Self, ClientError> {
        let path =
            std::env::var_os(SOCKET_VARIABLE).map_or_else(|| PathBuf::from(SOCKET), PathBuf::from);
        Self::connect_to(&path).map_err(|e| ClientError::Absent {
            path,
            source: e.into(),
        })
    }

    fn connect_to(path: &Path) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(AddressFamily::UNIX, net::SocketType::STREAM, flags, None)?;
        net::connect(&socket, &net::SocketAddrUnix::new(path)?)?;
        Ok(Self {
            socket,
            end: CallerEnd::new(Caller::Helper),
            received: Vec::new(),
        })
    }

    /// Sends a request, with a descriptor if given, and waits for its reply. `timeout` is how long the daemon may
    /// say nothing at all; `cancelled` is asked every [`TICK`].
    ///
    /// # Errors
    /// After any but [`ClientError::Refused`] the conversation is of no more use.
    pub fn call<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        descriptor: Option<BorrowedFd<'_>>,
        timeout: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<T, ClientError> {
        let wait = Wait { timeout, cancelled };
        let asked = self.end.ask(request);
        let line = asked.map_err(ClientError::Request)?;
        self.send(&line, descriptor, &wait)?;
        loop {
            let line = self.receive(&wait)?;
            match self.end.hear(&line) {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => {}
                Err(ReplyError::Refused(reason)) => return Err(ClientError::Refused(reason)),
                Err(ReplyError::Version(mismatch)) => return Err(ClientError::Version(mismatch)),
                Err(ReplyError::Garbled(error)) => {
                    let line = excerpt(&line);
                    return Err(ClientError::Garbled { error, line });
                }
            }
        }
    }

    fn send(
        &self,
        mut line: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
        wait: &Wait<'_>,
    ) -> Result<(), ClientError> {
        let descriptor = descriptor.as_slice();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptor.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(descriptor));
        }
        let started = Instant::now();
        while !line.is_empty() {
            match net::sendmsg(
                &self.socket,
                &[io::IoSlice::new(line)],
                &mut ancillary,
                SendFlags::NOSIGNAL,
            ) {
                Ok(sent) => {
                    line = &line[sent..];
                    ancillary.clear();
                }
                Err(Errno::AGAIN | Errno::INTR) => {
                    wait.ready(&self.socket, PollFlags::OUT, started)?
                }
                Err(e) => return Err(ClientError::Lost(e.into())),
            }
        }
        Ok(())
    }

    fn receive(&mut self, wait: &Wait<'_>) -> Result<Vec<u8>, ClientError> {
        let started = Instant::now();
        loop {
            if let Some(end) = self.received.iter().position(|&b| b == b'\n') {
                let mut line: Vec<u8> = self.received.drain(..=end).collect();
                line.pop();
                return Ok(line);
            }
            if self.received.len() > LINE_MAX {
                return Err(ClientError::TooLong);
            }
            let mut chunk = [0u8; 4096];
            match net::recv(&self.socket, &mut chunk, RecvFlags::empty()) {
                Ok((_, 0)) => return Err(ClientError::Lost(io::ErrorKind::UnexpectedEof.into())),
                Ok((_, length)) => self.received.extend_from_slice(&chunk[..length]),
                Err(Errno::AGAIN | Errno::INTR) => {
                    wait.ready(&self.socket, PollFlags::IN, started)?
                }
                Err(e) => return Err(ClientError::Lost(e.into())),
            }
        }
    }
}

struct Wait<'a> {
    timeout: Duration,
    cancelled: &'a dyn Fn() -> bool,
}

impl Wait<'_> {
    /// Waits a tick at most; the caller tries again.
    fn ready(
        &self,
        socket: &OwnedFd,
        events: PollFlags,
        started: Instant,
    ) -> Result<(), ClientError> {
        if (self.cancelled)() {
            return Err(ClientError::Cancelled);
        }
        if started.elapsed() >= self.timeout {
            return Err(ClientError::Silent(self.timeout));
        }
        let tick = Timespec {
            tv_sec: 0,
            tv_nsec: TICK.as_nanos() as _,
        };
        match poll(&mut [PollFd::new(socket, events)], Some(&tick)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(ClientError::Lost(e.into())),
        }
    }
}

fn excerpt(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::conversation::Done;
    use protocol::helper::Sessions;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::net::UnixStream;

    const LONG: Duration = Duration::from_secs(30);

    fn pair() -> (Client, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (
            Client {
                socket: ours.into(),
                end: CallerEnd::new(Caller::Helper),
                received: Vec::new(),
            },
            theirs,
        )
    }

    fn ask(client: &mut Client, timeout: Duration) -> Result<Sessions, ClientError> {
        client.call(
            &Request::Save {
                domid: 1,
                live: true,
            },
            None,
            timeout,
            &|| false,
        )
    }

    #[test]
    fn progress_then_reply() {
        let (mut client, mut daemon) = pair();
        daemon
            .write_all(b"{\"progress\":{}}\n{\"progress\":1}\n{\"ok\":{\"sessions\":2}}\n")
            .unwrap();
        let expected = Sessions {
            sessions: 2,
            devices: 0,
            ram: None,
        };
        assert_eq!(ask(&mut client, LONG).unwrap(), expected);
        let mut line = String::new();
        BufReader::new(&daemon).read_line(&mut line).unwrap();
        assert!(line.starts_with("{\"version\":{"), "{line}");
        assert!(
            line.ends_with("\"op\":\"save\",\"domid\":1,\"live\":true}\n"),
            "{line}"
        );
    }

    #[test]
    fn a_refusal_leaves_the_conversation_usable() {
        let (mut client, mut daemon) = pair();
        daemon
            .write_all(b"{\"error\":\"no room\"}\n{\"ok\":{}}\n")
            .unwrap();
        assert!(matches!(ask(&mut client, LONG), Err(ClientError::Refused(r)) if r == "no room"));
        let done: Result<Done, _> =
            client.call(&Request::Done { rc: 0, ram: None }, None, LONG, &|| false);
        assert!(done.is_ok());
    }

    #[test]
    fn a_daemon_of_another_major_version_is_left() {
        let (mut client, mut daemon) = pair();
        daemon
            .write_all(b"{\"version\":{\"major\":2,\"minor\":0}}\n{\"ok\":{\"sessions\":1}}\n")
            .unwrap();
        let error = ask(&mut client, LONG).unwrap_err();
        assert!(matches!(error, ClientError::Version(_)), "{error}");
        assert!(error.to_string().contains("xl-gpud 2.0"), "{error}");
    }

    #[test]
    fn a_silent_daemon_is_given_up() {
        let (mut client, _daemon) = pair();
        assert!(matches!(
            ask(&mut client, Duration::from_millis(1)),
            Err(ClientError::Silent(_))
        ));
    }

    #[test]
    fn a_dead_daemon_is_noticed() {
        let (mut client, daemon) = pair();
        drop(daemon);
        assert!(matches!(ask(&mut client, LONG), Err(ClientError::Lost(_))));
    }

    #[test]
    fn nonsense_is_told() {
        let (mut client, mut daemon) = pair();
        daemon.write_all(b"hello\n").unwrap();
        assert!(matches!(
            ask(&mut client, LONG),
            Err(ClientError::Garbled { .. })
        ));
    }

    #[test]
    fn an_endless_line_is_not_collected() {
        let (mut client, daemon) = pair();
        let mut writer = daemon.try_clone().unwrap();
        let feeder = std::thread::spawn(move || while writer.write_all(&[b'x'; 4096]).is_ok() {});
        assert!(matches!(ask(&mut client, LONG), Err(ClientError::TooLong)));
        drop(client);
        feeder.join().unwrap();
        drop(daemon);
    }

    #[test]
    fn cancelling_ends_the_wait() {
        let (mut client, _daemon) = pair();
        let result: Result<Done, _> = client.call(&Request::Stop, None, LONG, &|| true);
        assert!(matches!(result, Err(ClientError::Cancelled)));
    }

    #[test]
    fn the_descriptor_arrives() {
        use std::os::fd::AsFd;
        let (mut client, mut daemon) = pair();
        let (mut reader, writer) = io::pipe().unwrap();
        daemon.write_all(b"{\"ok\":{\"sessions\":1}}\n").unwrap();
        let request = Request::Save {
            domid: 1,
            live: false,
        };
        let _: Sessions = client
            .call(&request, Some(writer.as_fd()), LONG, &|| false)
            .unwrap();
        drop(writer);

        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = net::RecvAncillaryBuffer::new(&mut space);
        let mut line = [0u8; 256];
        net::recvmsg(
            &daemon,
            &mut [io::IoSliceMut::new(&mut line)],
            &mut ancillary,
            RecvFlags::empty(),
        )
        .unwrap();
        let received = ancillary.drain().find_map(|m| match m {
            net::RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        std::fs::File::from(received.unwrap())
            .write_all(b"through")
            .unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }
}
