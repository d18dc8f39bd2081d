//! One connection to the socket: requests and replies, a line each.

use protocol::conversation::{Caller, LINE_MAX, Mismatch, Reply, Version, stated_version};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How often a working daemon looks whether its peer is still there.
const TICK: Duration = Duration::from_millis(100);
/// After how many ticks it says that it is.
const PROGRESS: u32 = 10;

/// One connection.
#[derive(Debug)]
pub struct Conversation {
    stream: UnixStream,
    received: Vec<u8>,
    /// The descriptor that came last.
    pub descriptor: Option<OwnedFd>,
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
    pub fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
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

    /// Answers what a first line tells of its sender's version.
    pub fn compare_versions(&self, caller: Caller, first_line: &[u8]) -> Result<(), Mismatch> {
        let theirs = stated_version(first_line);
        if theirs.is_some() {
            self.reply(&Reply::Version(Version::OURS));
        }
        Mismatch::check(caller, theirs.unwrap_or(Version::UNSTATED), Version::OURS)
    }

    fn write(&self, reply: &Reply<Value>) -> io::Result<()> {
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        (&self.stream).write_all(&line)
    }

    /// Replies to the last request. A peer that has gone is noticed at the next read.
    pub fn reply(&self, reply: &Reply<Value>) {
        if let Err(e) = self.write(reply) {
            log::debug!("a reply was not taken: {e}");
        }
    }

    /// Answers the last request.
    pub fn answer(&self, value: Value) {
        self.reply(&Reply::Ok(value));
    }

    /// Refuses the last request.
    pub fn refuse(&self, reason: &dyn ToString) {
        self.reply(&Reply::Error(reason.to_string()));
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
                        || speak && self.write(&Reply::Progress(json!({}))).is_err()
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
