//! The processes that have a session. Each has one: who connects anew takes its own earlier place.

use crate::announcement::short;
use crate::limits::Limits;
use crate::process::Process;
use channel::image::SessionId;
use rustix::event::{EventfdFlags, eventfd};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use xen_session::instance::Instance;

/// Why a process gets no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Full {
    #[error("user {uid} has {limit} GPU sessions, which is the most (--sessions-per-user)")]
    User { uid: u32, limit: usize },
    #[error("the guest's users have {limit} GPU sessions, which is the most (--sessions)")]
    All { limit: usize },
    #[error("no descriptor: {0}")]
    Descriptor(#[source] io::Error),
}

/// A process cannot have the name that it wants.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotYours {
    #[error("session {} is another process's", short(*.0))]
    Taken(SessionId),
    #[error("the process has connected anew")]
    Superseded,
}

struct Holder {
    uid: u32,
    session: Option<SessionId>,
    /// Tells the seat that is valid from those before it.
    turn: u64,
    over: Arc<OwnedFd>,
}

/// All of them.
pub(crate) struct Registry {
    limits: Limits,
    holders: Mutex<HashMap<Instance, Holder>>,
}

impl Registry {
    pub(crate) fn new(limits: Limits) -> Arc<Registry> {
        Arc::new(Registry {
            limits,
            holders: Mutex::default(),
        })
    }

    fn holders(&self) -> MutexGuard<'_, HashMap<Instance, Holder>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `process` its place, if need be that of its earlier connection, which learns of it.
    pub(crate) fn enter(self: &Arc<Self>, process: &Process) -> Result<Seat, Full> {
        self.seat(process, Some(self.limits))
    }

    /// Gives `process` the place of its `session` that an earlier agent gave it, whatever the limits are now.
    pub(crate) fn readmit(
        self: &Arc<Self>,
        process: &Process,
        session: SessionId,
    ) -> Result<Seat, Full> {
        let seat = self.seat(process, None)?;
        if let Some(holder) = self.holders().get_mut(&process.instance) {
            holder.session = Some(session);
        }
        Ok(seat)
    }

    fn seat(self: &Arc<Self>, process: &Process, limits: Option<Limits>) -> Result<Seat, Full> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let over = Arc::new(eventfd(0, flags).map_err(|e| Full::Descriptor(e.into()))?);
        let mut holders = self.holders();
        let (mut turn, mut session) = (0, None);
        if let Some(before) = holders.get(&process.instance) {
            // The counter of a fresh eventfd has room.
            let _ = rustix::io::write(&before.over, &1u64.to_ne_bytes());
            (turn, session) = (before.turn + 1, before.session);
        } else if let Some(limits) = limits {
            let Limits {
                sessions,
                sessions_of_user,
                ..
            } = limits;
            let uid = process.uid;
            if holders.values().filter(|h| h.uid == uid).count() >= sessions_of_user {
                let limit = sessions_of_user;
                return Err(Full::User { uid, limit });
            }
            if holders.len() >= sessions {
                return Err(Full::All { limit: sessions });
            }
        }
        let holder = Holder {
            uid: process.uid,
            session,
            turn,
            over: over.clone(),
        };
        holders.insert(process.instance.clone(), holder);
        drop(holders);
        Ok(Seat {
            registry: self.clone(),
            instance: process.instance.clone(),
            turn,
            over,
        })
    }
}

/// A process's place, until it is dropped.
pub(crate) struct Seat {
    registry: Arc<Registry>,
    instance: Instance,
    turn: u64,
    over: Arc<OwnedFd>,
}

impl Seat {
    /// Takes `session` as the process's name for itself; gives the name that it had before, if that was another: it runs
    /// another program now.
    pub(crate) fn claim(&self, session: SessionId) -> Result<Option<SessionId>, NotYours> {
        let mut holders = self.registry.holders();
        let others = holders.iter().filter(|(of, _)| **of != self.instance);
        if others.into_iter().any(|(_, h)| h.session == Some(session)) {
            return Err(NotYours::Taken(session));
        }
        let own = holders.get_mut(&self.instance);
        let own = own.filter(|holder| holder.turn == self.turn);
        let before = own.ok_or(NotYours::Superseded)?.session.replace(session);
        Ok(before.filter(|before| *before != session))
    }

    /// The process's session: the one it claimed, or that of its earlier connection.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.registry.holders().get(&self.instance)?.session
    }
}

impl AsFd for Seat {
    /// Readable once the process has connected anew.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.over.as_fd()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut holders = self.registry.holders();
        if holders
            .get(&self.instance)
            .is_some_and(|h| h.turn == self.turn)
        {
            holders.remove(&self.instance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    struct Sleeper(Child, Process);

    impl Sleeper {
        fn new() -> Sleeper {
            let child = Command::new("sleep").arg("60").spawn().unwrap();
            let uid = rustix::process::geteuid().as_raw();
            let process = Process::of(child.id(), uid).unwrap();
            Sleeper(child, process)
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn is_readable(seat: &Seat) -> bool {
        channel::link::wait_readable(&[seat.as_fd()], Some(std::time::Duration::ZERO)).unwrap()
    }

    #[test]
    fn a_user_has_so_many_and_all_have_so_many() {
        let limits = Limits {
            sessions: 3,
            sessions_of_user: 2,
            ..Limits::default()
        };
        let registry = Registry::new(limits);
        let mut some: Vec<Sleeper> = (0..5).map(|_| Sleeper::new()).collect();
        some[2].1.uid += 1;
        some[3].1.uid += 2;
        let first = registry.enter(&some[0].1).unwrap();
        let _second = registry.enter(&some[1].1).unwrap();
        assert!(matches!(
            registry.enter(&some[4].1),
            Err(Full::User { limit: 2, .. })
        ));
        let _other = registry.enter(&some[2].1).unwrap();
        assert!(matches!(
            registry.enter(&some[3].1),
            Err(Full::All { limit: 3 })
        ));
        drop(first);
        registry.enter(&some[4].1).unwrap();
    }

    #[test]
    fn a_process_has_one_place_and_a_name_one_process() {
        let registry = Registry::new(Limits::default());
        let (one, two) = (Sleeper::new(), Sleeper::new());
        let (name, other) = (SessionId([1; 16]), SessionId([2; 16]));
        let first = registry.enter(&one.1).unwrap();
        assert_eq!(first.claim(name).unwrap(), None);
        let thief = registry.enter(&two.1).unwrap();
        thief.claim(name).unwrap_err();
        let second = registry.enter(&one.1).unwrap();
        assert_eq!(second.session(), Some(name));
        assert!(is_readable(&first) && !is_readable(&second));
        first.claim(other).unwrap_err();
        drop(first);
        thief.claim(name).unwrap_err();
        assert_eq!(second.claim(name).unwrap(), None);
        assert_eq!(second.claim(other).unwrap(), Some(name), "another program");
        drop(second);
        assert_eq!(thief.claim(other).unwrap(), None);
    }
}
