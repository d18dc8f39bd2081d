//! Who a client is: by the kernel's word, not its own.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use xen_session::instance::Instance;

/// A process of this guest.
pub struct Process {
    /// As the agent sees it, whatever namespace it is in.
    pub instance: Instance,
    /// Its user.
    pub uid: u32,
    /// The program's name, which it may choose.
    pub program: String,
    /// Readable once it has ended.
    handle: OwnedFd,
}

/// Why a peer is not served.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    #[error("its process is in a pid namespace that the agent does not see")]
    NotVisible,
    #[error("process {pid} has ended")]
    Ended { pid: u32 },
    #[error("process {pid} runs as user {now}, and user {uid} connected")]
    AnotherUser { pid: u32, uid: u32, now: u32 },
    #[error("process {pid}: {source}")]
    Proc { pid: u32, source: io::Error },
    #[error("who has connected is not known: {0}")]
    Credentials(#[source] io::Error),
}

impl Process {
    /// The process that connected `socket`.
    ///
    /// # Errors
    /// [`Unknown`] where it is not there any longer, or another has its number by now.
    pub fn of_peer(socket: impl AsFd) -> Result<Process, Unknown> {
        let peer = credentials(socket.as_fd()).map_err(Unknown::Credentials)?;
        // 0: it is not visible from here.
        let pid = u32::try_from(peer.pid).ok().filter(|pid| *pid > 0);
        Process::of(pid.ok_or(Unknown::NotVisible)?, peer.uid)
    }

    /// Process `pid`, which must be user `uid`'s.
    ///
    /// # Errors
    /// As [`Process::of_peer`].
    pub fn of(pid: u32, uid: u32) -> Result<Process, Unknown> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = number.ok_or(Unknown::NotVisible)?;
        // First: what is read of `/proc` while this has not ended is of this process.
        let handle = pidfd_open(number, PidfdFlags::empty()).map_err(|e| match e {
            Errno::SRCH => Unknown::Ended { pid },
            e => Unknown::Proc {
                pid,
                source: e.into(),
            },
        })?;
        let seen = look(pid, uid);
        match is_over(&handle) {
            true => Err(Unknown::Ended { pid }),
            false => seen.map(|(instance, program)| Process {
                instance,
                uid,
                program,
                handle,
            }),
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        is_over(&self.handle)
    }
}

impl AsFd for Process {
    /// Readable once it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

fn is_over(handle: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(handle, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1))
}

/// Which process has the number now, which must be user `uid`'s, and its program's name.
fn look(pid: u32, uid: u32) -> Result<(Instance, String), Unknown> {
    let failed = |source| Unknown::Proc { pid, source };
    // A name that is cut within a character is no text.
    let read = |name| {
        let bytes = std::fs::read(format!("/proc/{pid}/{name}")).map_err(failed)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let now = effective_uid(&read("status")?)
        .ok_or_else(|| failed(io::Error::other("its status names no user")))?;
    if now != uid {
        return Err(Unknown::AnotherUser { pid, uid, now });
    }
    let instance = Instance::of(pid).map_err(failed)?;
    Ok((instance, read("comm")?.trim_end().to_owned()))
}

/// Who connected the socket (unix(7)).
fn credentials(socket: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    let mut found = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and `found` has room for `len` bytes, which any values are good for.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut len,
        )
    };
    match result {
        0 => Ok(found),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Of `/proc/<pid>/status` (proc(5)): real, effective, saved, file system.
fn effective_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_who_it_is_until_it_ends() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let process = Process::of(child.id(), uid).unwrap();
        assert_eq!(process.instance.pid(), child.id());
        assert!(!process.has_ended());
        let error = Process::of(child.id(), uid + 1).err().unwrap();
        assert!(matches!(error, Unknown::AnotherUser { .. }), "{error}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(process.has_ended());
        let error = Process::of(child.id(), uid).err().unwrap();
        assert!(matches!(error, Unknown::Ended { .. }), "{error}");
    }

    #[test]
    fn the_second_number_is_the_effective_user() {
        let status = "Name:\tx\nUid:\t1000\t1001\t1002\t1003\nGid:\t7\t7\t7\t7\n";
        assert_eq!(effective_uid(status), Some(1001));
        assert_eq!(effective_uid("Name:\tx\n"), None);
    }
}
