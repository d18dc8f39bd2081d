//! Programs on this machine instead of guests: no Xen library is touched.
//!
//! All of them belong to one domain, number 0, called `loopback`.

use super::carrier::{Carrier, Domain, Event, MAX_HOLDERS, MAX_SESSIONS, Nonsense, Sessions};
use channel::bus::Bus;
use channel::image::SessionId;
use channel::layout::Layout;
use channel::link::{Announcement, Link, Others, Peer, Residence, wait_readable};
use channel::loopback::{LoopbackListener, LoopbackPeer};
use channel::memory::SharedRegion;
use protocol::progress::Progress;
use protocol::status::PublishedState;
use protocol::text;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The one domain.
pub const DOMID: u32 = 0;

/// How long a program that has connected may take to announce itself.
const ANNOUNCE_PATIENCE: Duration = Duration::from_secs(2);

struct Program {
    /// Locked while the program is asked something.
    peer: Mutex<LoopbackPeer>,
    announcement: Mutex<Announcement>,
    socket: OwnedFd,
    /// Its pages are shared.
    open: AtomicBool,
    /// It has hung up.
    gone: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Program {
    fn announcement(&self) -> Announcement {
        lock(&self.announcement).clone()
    }

    /// Takes over what the program has told meanwhile.
    fn learn(&self, peer: &LoopbackPeer) {
        *lock(&self.announcement) = clean(peer.announcement());
    }
}

fn clean(a: &Announcement) -> Announcement {
    let holders = a.others.holders.iter();
    Announcement {
        program: text::clean(&a.program),
        blocked: a.blocked.as_deref().map(text::clean),
        others: Others {
            holders: holders.take(MAX_HOLDERS).map(|h| text::clean(h)).collect(),
            unseen: a.others.unseen,
        },
        ..a.clone()
    }
}

type Programs = Arc<Mutex<BTreeMap<SessionId, Arc<Program>>>>;

/// The programs that are connected.
pub struct LoopbackCarrier {
    programs: Programs,
}

impl LoopbackCarrier {
    /// Listens at `socket`.
    pub fn start(socket: &Path) -> io::Result<(Self, Receiver<Event>)> {
        let listener = LoopbackListener::bind(socket)?;
        let programs = Programs::default();
        let (sender, events) = channel();
        let accepting = programs.clone();
        std::thread::Builder::new()
            .name("loopback".into())
            .spawn(move || {
                loop {
                    match wait_readable(&[listener.fd()], None)
                        .and_then(|_| listener.accept(ANNOUNCE_PATIENCE))
                    {
                        Ok(peer) => welcome(peer, &accepting, &sender),
                        Err(e) => log::warn!("loopback: {e}"),
                    }
                }
            })?;
        Ok((LoopbackCarrier { programs }, events))
    }

    fn program(&self, session: SessionId) -> io::Result<Arc<Program>> {
        lock(&self.programs).get(&session).cloned().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("no program with session {session} is connected"),
            )
        })
    }
}

fn welcome(peer: LoopbackPeer, programs: &Programs, events: &Sender<Event>) {
    let session = peer.announcement().session;
    let socket = match peer.fd().try_clone_to_owned() {
        Ok(socket) => socket,
        Err(e) => return log::warn!("loopback: session {session}: {e}"),
    };
    let program = Arc::new(Program {
        announcement: Mutex::new(clean(peer.announcement())),
        peer: Mutex::new(peer),
        socket,
        open: AtomicBool::new(false),
        gone: AtomicBool::new(false),
    });
    log::info!("loopback: session {session} has come");
    lock(programs).insert(session, program.clone());
    let _ = events.send(Event::Sessions(DOMID));
    let (programs, events) = (programs.clone(), events.clone());
    std::thread::spawn(move || {
        let end = listen(&program, &events);
        program.gone.store(true, Ordering::Relaxed);
        log::info!("loopback: session {session} has gone: {end}");
        let mut programs = lock(&programs);
        // The session may be back already, on another connection.
        if programs
            .get(&session)
            .is_some_and(|p| Arc::ptr_eq(p, &program))
        {
            programs.remove(&session);
        }
        drop(programs);
        let _ = events.send(Event::Sessions(DOMID));
    });
}

/// Follows what a program tells until it goes.
fn listen(program: &Program, events: &Sender<Event>) -> io::Error {
    loop {
        if let Err(e) = wait_readable(&[program.socket.as_fd()], None) {
            return e;
        }
        let mut peer = lock(&program.peer);
        if let Err(e) = peer.refresh() {
            return e;
        }
        program.learn(&peer);
        drop(peer);
        let _ = events.send(Event::Sessions(DOMID));
    }
}

/// A program's link, for as long as the program is there.
struct ProgramLink {
    link: Box<dyn Link>,
    program: Arc<Program>,
}

impl Link for ProgramLink {
    fn memory(&self) -> &SharedRegion {
        self.link.memory()
    }

    fn notify(&self) -> io::Result<()> {
        self.link.notify()
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.link.fd()
    }

    fn clear(&self) -> io::Result<()> {
        self.link.clear()
    }

    fn is_gone(&self) -> bool {
        self.program.gone.load(Ordering::Relaxed)
    }
}

/// One program, to be opened and closed.
struct ProgramPeer {
    program: Arc<Program>,
    announcement: Announcement,
}

impl Peer for ProgramPeer {
    fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    fn open(&mut self, patience: Duration) -> io::Result<(Box<dyn Link>, Layout)> {
        let mut peer = lock(&self.program.peer);
        let opened = peer.open(patience);
        self.program.open.store(opened.is_ok(), Ordering::Relaxed);
        self.program.learn(&peer);
        self.announcement = self.program.announcement();
        let program = self.program.clone();
        opened.map(|(link, layout)| {
            let link: Box<dyn Link> = Box::new(ProgramLink { link, program });
            (link, layout)
        })
    }

    fn close(&mut self, link: Box<dyn Link>, patience: Duration) -> io::Result<()> {
        let mut peer = lock(&self.program.peer);
        let closed = peer.close(link, patience);
        self.program.open.store(false, Ordering::Relaxed);
        self.program.learn(&peer);
        match closed {
            // A program that is gone has ended its side.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            result => result,
        }
    }
}

impl Carrier for LoopbackCarrier {
    fn name(&self) -> &'static str {
        "loopback"
    }

    fn domains(&self) -> io::Result<Vec<Domain>> {
        Ok(vec![Domain {
            domid: DOMID,
            name: "loopback".into(),
        }])
    }

    fn sessions(&self, domid: u32) -> io::Result<Sessions> {
        if domid != DOMID {
            return Ok(Sessions::default());
        }
        let programs = lock(&self.programs);
        let mut sessions = Sessions::default();
        for program in programs.values() {
            if sessions.announced.len() >= MAX_SESSIONS {
                sessions.nonsense.push(Nonsense {
                    node: "…".into(),
                    reason: format!("more than {MAX_SESSIONS} sessions"),
                });
                break;
            }
            sessions.announced.push(program.announcement());
        }
        Ok(sessions)
    }

    fn peer(&self, _: u32, session: SessionId) -> io::Result<Box<dyn Peer>> {
        let program = self.program(session)?;
        let announcement = program.announcement();
        Ok(Box::new(ProgramPeer {
            program,
            announcement,
        }))
    }

    fn is_open(&self, _: u32, session: SessionId) -> io::Result<bool> {
        let program = self.program(session);
        Ok(program.is_ok_and(|p| p.open.load(Ordering::Relaxed)))
    }

    fn look(
        &self,
        _: u32,
        session: SessionId,
        rescan: bool,
        patience: Duration,
    ) -> io::Result<Option<Bus>> {
        let program = self.program(session)?;
        let mut peer = lock(&program.peer);
        peer.look(rescan, patience)?;
        program.learn(&peer);
        Ok(program.announcement().bus)
    }

    fn await_state(
        &self,
        _: u32,
        session: SessionId,
        wanted: Residence,
        patience: Duration,
    ) -> bool {
        let deadline = Instant::now() + patience;
        while self
            .program(session)
            .is_ok_and(|p| p.announcement().state != wanted)
        {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    fn identity(&self, _: u32) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn tell(&self, _: u32, _: PublishedState, _: Option<&str>) {}

    fn tell_progress(&self, _: u32, _: Option<&Progress>) {}

    fn tell_session(&self, _: u32, _: SessionId, _: &str) {}

    fn acknowledge(&self, _: u32) {}

    fn forget(&self, _: u32, session: SessionId) -> io::Result<()> {
        match lock(&self.programs).contains_key(&session) {
            false => Ok(()),
            true => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("session {session} is a running program"),
            )),
        }
    }
}
