//! Who a client is: by the kernel's word, not its own.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
        let peer = rustix::net::sockopt::socket_peercred(socket)
            .map_err(|e| Unknown::Credentials(e.into()))?;
        let pid = peer.pid.as_raw_nonzero().get();
        Process::of(pid.unsigned_abs(), peer.uid.as_raw())
    }

    /// Process `pid`, which must be user `uid`'s.
    ///
    /// # Errors
    /// As [`Process::of_peer`].
    pub fn of(pid: u32, uid: u32) -> Result<Process, Unknown> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = number.ok_or(Unknown::NotVisible)?;
        // First: what is read of `/proc` while this has not ended is of this process.
        let handle = pidfd_open(number, PidfdFlags::empty()).map_err(|_| Unknown::Ended { pid })?;
        let failed = |source| Unknown::Proc { pid, source };
        let read = |name| std::fs::read_to_string(format!("/proc/{pid}/{name}")).map_err(failed);
        let now = effective_uid(&read("status")?)
            .ok_or_else(|| failed(io::Error::other("its status names no user")))?;
        if now != uid {
            return Err(Unknown::AnotherUser { pid, uid, now });
        }
        let process = Process {
            instance: Instance::of(pid).map_err(failed)?,
            uid,
            program: read("comm")?.trim_end().to_owned(),
            handle,
        };
        match process.has_ended() {
            false => Ok(process),
            true => Err(Unknown::Ended { pid }),
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.handle, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1))
    }
}

impl AsFd for Process {
    /// Readable once it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
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
