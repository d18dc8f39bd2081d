//! An agent, and clients that keep no rule of their own accord.

use crate::common;
use crate::fake::FakeXen;
use crate::waiting::AGES;
use agent::limits::Limits;
use agent::service::{self, Service};
use channel::agent::{Answer, Told, VERSION};
use channel::datagram;
use channel::image::SessionId;
use channel::link::{Announcement, wait_readable};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// An agent of the test's own. Its threads end with the test's process.
pub struct Agent {
    pub xen: Arc<FakeXen>,
    pub socket: PathBuf,
}

impl Agent {
    pub fn start(limits: Limits) -> Agent {
        Agent::beside(Arc::default(), limits)
    }

    /// With a XenStore that is there already.
    pub fn beside(xen: Arc<FakeXen>, limits: Limits) -> Agent {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("xl-gpu-agent-test-{}-{n}", std::process::id());
        let socket = std::env::temp_dir().join(name);
        let listener = service::bind(&socket).unwrap();
        let service = Service::new(xen.clone(), limits);
        std::thread::spawn(move || {
            let error = service.run(listener.as_fd());
            panic!("{error:?}");
        });
        Agent { xen, socket }
    }

    /// A connected socket that has said nothing.
    pub fn connect(&self) -> OwnedFd {
        let socket = datagram::seqpacket().unwrap();
        rustix::net::connect(&socket, &datagram::address(&self.socket).unwrap()).unwrap();
        socket
    }

    /// A client that keeps no rule of its own accord, and the socket of requests.
    pub fn greeted(&self) -> (OwnedFd, OwnedFd) {
        let socket = self.connect();
        let (answer, mut fds) = tell(&socket, &Told::Hello { version: VERSION }).unwrap();
        assert_eq!(answer, Answer::Done);
        (socket, fds.pop().expect("the socket of requests"))
    }

    /// The same, with its session announced.
    pub fn announced(&self, id: SessionId) -> (OwnedFd, OwnedFd) {
        let (socket, requests) = self.greeted();
        let announce = Told::Announce(Box::new(announcement(id)));
        let (answer, _) = tell(&socket, &announce).unwrap();
        assert!(matches!(answer, Answer::Domain(Some(_))), "{answer:?}");
        (socket, requests)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

pub fn announcement(session: SessionId) -> Announcement {
    Announcement {
        session,
        ..common::announcement()
    }
}

pub fn answer(socket: &OwnedFd) -> io::Result<(Answer, Vec<OwnedFd>)> {
    let deadline = Instant::now() + AGES;
    loop {
        if let Some(answer) = datagram::receive(socket)? {
            return Ok(answer);
        }
        assert!(Instant::now() < deadline, "no answer");
        wait_readable(&[socket.as_fd()], Some(AGES))?;
    }
}

pub fn tell(socket: &OwnedFd, told: &Told) -> io::Result<(Answer, Vec<OwnedFd>)> {
    datagram::send(socket, told, &[])?;
    answer(socket)
}

/// Why the agent has hung up.
pub fn refusal(socket: &OwnedFd) -> String {
    loop {
        match answer(socket) {
            Ok((Answer::Refused(reason), _)) => return reason,
            Ok(_) => {}
            Err(e) => panic!("no reason: {e}"),
        }
    }
}
