//! JSON datagrams with file descriptors over a Unix socket (`SOCK_SEQPACKET`).

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Longest message, in bytes.
const MAX_MESSAGE: usize = 64 << 10;
/// Most descriptors with one message.
const MAX_FDS: usize = 3;

/// A socket that is neither bound nor connected.
pub fn seqpacket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// The address of the socket at `path`.
pub fn address(path: &Path) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(path)?)
}

/// Sends one message; an error of kind `UnexpectedEof` where the peer has gone.
pub fn send(socket: impl AsFd, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    match rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    ) {
        Ok(_) => Ok(()),
        Err(Errno::PIPE | Errno::CONNRESET) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(e) => Err(e.into()),
    }
}

/// The next message if one is there; an error of kind `UnexpectedEof` where the peer has gone.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let Some(message) = take(socket, &mut ancillary)? else {
        return Ok(None);
    };
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok(Some((message, fds)))
}

/// As [`receive`], of a peer that may pass no descriptors: the kernel drops what it passes all the same.
pub fn receive_plain<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<T>> {
    take(socket, &mut RecvAncillaryBuffer::new(&mut []))
}

fn take<T: DeserializeOwned>(
    socket: impl AsFd,
    ancillary: &mut RecvAncillaryBuffer<'_>,
) -> io::Result<Option<T>> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let mut once = || {
        let mut to = [IoSliceMut::new(&mut bytes)];
        rustix::net::recvmsg(&socket, &mut to, ancillary, flags)
    };
    // A peer that went before it had read everything; what it said last can be read after that.
    let got = match once() {
        Err(Errno::CONNRESET) => once(),
        got => got,
    };
    let got = match got {
        Ok(got) => got.bytes,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
        Err(Errno::CONNRESET) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Err(e) => return Err(e.into()),
    };
    if got == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message = serde_json::from_slice(&bytes[..got]);
    // A message that is cut is nonsense, too, and not the end.
    message
        .map(Some)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}
