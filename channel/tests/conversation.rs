//! Both ends keep the rules, and everything around them fails: programs, spools, daemons.

mod common;

use common::raw::RawHost;
use common::rng::Rng;
use common::workload::{Memory, Shared, some_objects};
use common::{AGES, Meeting, Objects, Store, Together, announcement, limits, patient};
use rustix::event::{EventfdFlags, eventfd};
use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use xl_gpu_channel::guest::{GuestTimeouts, Session};
use xl_gpu_channel::host::{self, Attached, Copying, Detached, HostError, Refused, one_by_one};
use xl_gpu_channel::layout::Layout;
use xl_gpu_channel::link::{Announcement, GuestLink, Link, Peer, Rendezvous, Request, Residence};
use xl_gpu_channel::loopback::{LoopbackPeer, LoopbackRendezvous};
use xl_gpu_channel::message::{ToGuest, ToHost};
use xl_gpu_channel::port::PortError;

type L = Box<dyn Link>;

/// A rendezvous that stirs for nothing at every other look, as a XenStore watch does for the guest's own writes.
struct Noisy {
    inner: LoopbackRendezvous,
    noise: OwnedFd,
    looks: Cell<u32>,
    quiet: Cell<bool>,
}

impl Noisy {
    fn connect(meeting: &Meeting) -> Noisy {
        Noisy {
            inner: LoopbackRendezvous::connect(&meeting.path).unwrap(),
            noise: eventfd(1, EventfdFlags::CLOEXEC).unwrap(),
            looks: Cell::new(0),
            quiet: Cell::new(false),
        }
    }
}

impl Rendezvous for Noisy {
    fn announce(&mut self, announcement: &Announcement) -> io::Result<()> {
        self.inner.announce(announcement)
    }
    fn fd(&self) -> BorrowedFd<'_> {
        self.looks.set(self.looks.get() + 1);
        // Once heard out, it rests until the next wait.
        if self.quiet.take() || self.looks.get().is_multiple_of(2) {
            return self.inner.fd();
        }
        self.noise.as_fd()
    }
    fn next(&mut self) -> io::Result<Option<Request>> {
        let request = self.inner.next()?;
        self.quiet.set(request.is_none());
        Ok(request)
    }
    fn share(&mut self, pages: usize) -> io::Result<Box<dyn GuestLink>> {
        self.inner.share(pages)
    }
    fn publish(&mut self, link: &dyn GuestLink) -> io::Result<()> {
        self.inner.publish(link)
    }
    fn close(&mut self, link: Option<Box<dyn GuestLink>>) -> io::Result<()> {
        self.inner.close(link)
    }
    fn fail(&mut self, reason: &str) -> io::Result<()> {
        self.inner.fail(reason)
    }
}

/// A program whose session outlives its daemons.
struct Guest {
    meeting: Meeting,
    program: Shared,
    /// The session comes back when its rendezvous has failed.
    running: Option<JoinHandle<(Session<Memory>, ErrorKind)>>,
}

impl Guest {
    fn start(memory: (Memory, Shared), pages: usize, silence: Duration) -> Guest {
        let (memory, program) = memory;
        let session = Session::new(memory, announcement(), pages).with_timeouts(GuestTimeouts {
            silence,
            idle: AGES,
        });
        let mut guest = Guest {
            meeting: Meeting::new(),
            program,
            running: None,
        };
        guest.run(session);
        guest
    }

    fn run(&mut self, mut session: Session<Memory>) {
        let mut rendezvous = Noisy::connect(&self.meeting);
        self.running = Some(std::thread::spawn(move || {
            let error = session.run(&mut rendezvous);
            (session, error.kind())
        }));
    }

    fn peer(&self) -> LoopbackPeer {
        self.meeting.listener.accept(AGES).unwrap()
    }

    /// After the peer has been dropped.
    fn ended(&mut self) -> Session<Memory> {
        let (session, error) = self.running.take().unwrap().join().expect("no panic");
        assert_eq!(error, ErrorKind::UnexpectedEof);
        session
    }

    fn objects(&self) -> Option<Objects> {
        self.program.lock().unwrap().objects.clone()
    }

    fn held(&self) -> bool {
        self.program.lock().unwrap().held
    }
}

fn open(peer: &mut LoopbackPeer) -> (L, Layout) {
    peer.open(AGES).unwrap()
}

fn attached(peer: &mut LoopbackPeer) -> Attached<L> {
    let (link, layout) = open(peer);
    Attached::new(link, layout, limits(), patient())
}

/// A step of two honest ends fails only where something was made to fail.
fn expected<S>(refused: Refused<S, L>) -> S {
    let fine = match &refused.error {
        HostError::Refused(why) => why.starts_with("on purpose") || why.starts_with("dom0 has no"),
        HostError::Store(_) | HostError::CutShort(_) => true,
        _ => false,
    };
    assert!(fine, "{}", refused.error);
    refused.session.expect("the link is well")
}

fn resumed(copying: Copying<L>) -> Attached<L> {
    copying
        .resume()
        .map_err(|r| r.error)
        .expect("a capture can always be given up")
}

/// One walk through the states, everything failing now and then.
fn walk(seed: u64) {
    let mut rng = Rng::new(seed);
    let (mut memory, program) = Memory::new(some_objects(rng.pick(&[40, 700, 3000])));
    memory.fail_one_in = rng.pick(&[0, 6, 30]);
    memory.rng = Rng::new(!seed);
    let pages = rng.pick(&[5, 7, 12, 60]);
    let mut guest = Guest::start((memory, program), pages, AGES);
    let mut peer = guest.peer();
    let mut session = attached(&mut peer);
    for generation in 1..6 {
        let threads = 1 + rng.below(4);
        let mut store = Store {
            room: rng.one_in(3).then(|| rng.below(12)),
            ..Store::default()
        };
        let mut copying = match session.begin(generation) {
            Ok((_, copying)) => copying,
            Err(refused) => {
                session = expected(refused);
                continue;
            }
        };
        for number in 0..rng.below(3) as u32 {
            if let Err(error) = copying.round(number, &Together::new(&mut store, threads)) {
                let (session, link) = (Some(()), None);
                expected(Refused {
                    session,
                    link,
                    error,
                });
            }
        }
        if rng.one_in(4) {
            session = resumed(copying);
            continue;
        }
        let quiesced = match copying.stop(AGES, &Together::new(&mut store, threads)) {
            Ok((_, quiesced)) => quiesced,
            Err(refused) => {
                session = resumed(expected(refused));
                assert!(!guest.held());
                continue;
            }
        };
        assert!(guest.held());
        // The program stands still: the image is what it has.
        assert_eq!(
            Some(&store.objects),
            guest.objects().as_ref(),
            "seed {seed}"
        );
        let mut detached = match quiesced.unload() {
            Ok((_, detached)) => detached,
            Err(refused) => {
                let (_, back) = expected(refused).resume().map_err(|r| r.error).unwrap();
                session = back;
                assert!(!guest.held());
                continue;
            }
        };
        assert!(guest.objects().is_none());
        if rng.one_in(2) {
            peer.close(detached.into_link(), AGES).unwrap();
            while peer.announcement().state != Residence::Detached {
                peer.refresh().unwrap();
            }
            let (link, layout) = open(&mut peer);
            detached = Detached::new(link, layout, limits(), patient());
        }
        session = loop {
            *store.reads_left.get_mut().unwrap() = rng.one_in(3).then(|| rng.below(8));
            let mut opened = 0;
            let restored = detached.restore(generation, &store, &mut |it| {
                assert_eq!(it.blackout_ns, 7);
                opened += 1;
            });
            match restored {
                Ok((_, session)) => {
                    assert_eq!(opened, 1, "seed {seed}");
                    break session;
                }
                Err(refused) => detached = expected(refused),
            }
            // The program runs as soon as its objects exist, and stays so when the rest does not arrive.
            assert!(opened == 0 || !guest.held(), "seed {seed}");
            if rng.one_in(2) {
                let state = match guest.held() {
                    true => Residence::Detached,
                    false => Residence::PostCopy,
                };
                peer.close(detached.into_link(), AGES).unwrap();
                while peer.announcement().state != state {
                    peer.refresh().unwrap();
                }
                let (link, layout) = open(&mut peer);
                detached = Detached::new(link, layout, limits(), patient());
            }
        };
        assert_eq!(
            Some(&store.objects),
            guest.objects().as_ref(),
            "seed {seed}"
        );
        assert!(!guest.held());
    }
    peer.close(session.into_link(), AGES).unwrap();
    drop(peer);
    guest.ended();
}

#[test]
fn failures_anywhere_lose_neither_a_byte_nor_a_slot() {
    let (tx, rx) = mpsc::channel();
    const WALKS: u64 = 400;
    for worker in 0..4 {
        let tx = tx.clone();
        std::thread::spawn(move || {
            for seed in (worker..WALKS).step_by(4) {
                let done = std::panic::catch_unwind(|| walk(seed)).is_ok();
                if tx.send((seed, done)).is_err() {
                    return;
                }
            }
        });
    }
    for _ in 0..WALKS {
        let (seed, well) = rx.recv_timeout(4 * AGES).expect("no walk hangs");
        assert!(well, "walk {seed}");
    }
}

/// dom0 dies in each state; another daemon then finds the program running, or waiting for its image.
#[test]
fn a_daemon_may_die_in_any_state() {
    for state in 0..5 {
        let objects = some_objects(500);
        let mut guest = Guest::start(Memory::new(objects.clone()), 20, AGES);
        let mut store = Store::default();
        let mut peer = guest.peer();
        let session = attached(&mut peer);
        let link = (|| {
            if state == 0 {
                return session.into_link();
            }
            let (_, copying) = session.begin(1).unwrap();
            if state == 1 {
                return copying.into_link();
            }
            let (_, quiesced) = copying.stop(AGES, &one_by_one(&mut store)).unwrap();
            if state == 2 {
                return quiesced.into_link();
            }
            let (_, detached) = quiesced.unload().unwrap();
            if state == 3 {
                return detached.into_link();
            }
            // In the middle of serving.
            let mut host = RawHost::new(detached.into_link(), Layout::for_pages(20));
            let _ = host.try_recv();
            host.link
        })();
        drop(link);
        drop(peer);
        let session = guest.ended();
        let gone = state >= 3;
        assert_eq!(
            (guest.objects().is_none(), guest.held()),
            (gone, gone),
            "state {state}"
        );

        // The next daemon has the spool.
        guest.run(session);
        let mut peer = guest.peer();
        let (link, layout) = open(&mut peer);
        let link = if gone {
            assert_eq!(peer.announcement().state, Residence::Detached);
            assert_eq!(peer.announcement().generation, 1);
            let detached = Detached::new(link, layout, limits(), patient());
            let restored = detached.restore(1, &store, &mut |_| ());
            restored.unwrap().1.into_link()
        } else {
            assert_eq!(peer.announcement().state, Residence::Attached);
            link
        };
        peer.close(link, AGES).unwrap();
        assert_eq!(guest.objects(), Some(objects));
        drop(peer);
        guest.ended();
    }
}

/// dom0 dies while a running program's contents arrive: what has not arrived comes from the next daemon, and from no
/// other image.
#[test]
fn a_daemon_may_die_while_contents_arrive() {
    for served in [0, 1, 5] {
        let objects = some_objects(3000);
        let mut guest = Guest::start(Memory::new(objects.clone()), 20, AGES);
        let mut store = Store::default();
        let mut peer = guest.peer();
        let (_, copying) = attached(&mut peer).begin(1).unwrap();
        let (_, quiesced) = copying.stop(AGES, &one_by_one(&mut store)).unwrap();
        let (_, detached) = quiesced.unload().unwrap();
        *store.reads_left.get_mut().unwrap() = Some(served);
        let refused = detached.restore(1, &store, &mut |_| ()).unwrap_err();
        let detached = expected(refused);
        assert!(!guest.held(), "the program runs");
        assert!(guest.objects().is_none(), "not everything has arrived");
        drop(detached);
        drop(peer);
        let session = guest.ended();

        guest.run(session);
        let mut peer = guest.peer();
        assert_eq!(peer.announcement().state, Residence::PostCopy);
        assert_eq!(peer.announcement().generation, 1);
        // Nothing else can be done with it.
        let refused = attached(&mut peer).begin(2).unwrap_err();
        assert!(
            matches!(&refused.error, HostError::Refused(why) if why.contains("arriving")),
            "{}",
            refused.error
        );
        peer.close(refused.session.unwrap().into_link(), AGES)
            .unwrap();
        let (link, layout) = open(&mut peer);
        let detached = Detached::new(link, layout, limits(), patient());
        let refused = detached.restore(2, &store, &mut |_| ()).unwrap_err();
        let detached = refused.session.expect("the link is well");
        *store.reads_left.get_mut().unwrap() = None;
        let mut opened = 0;
        let restored = detached.restore(1, &store, &mut |_| opened += 1);
        let (restored, session) = restored.unwrap();
        assert_eq!((opened, restored.blackout_ns), (1, 7));
        assert_eq!(guest.objects(), Some(objects));
        peer.close(session.into_link(), AGES).unwrap();
        drop(peer);
        guest.ended();
    }
}

/// dom0 lives but says nothing more: a program that waits goes on by itself, and the close is acknowledged later.
#[test]
fn a_program_does_not_wait_for_ever() {
    let mut guest = Guest::start(
        Memory::new(some_objects(100)),
        20,
        Duration::from_millis(300),
    );
    let mut peer = guest.peer();
    let (link, layout) = open(&mut peer);
    let short = host::HostTimeouts {
        silence: Duration::from_millis(500),
    };
    let (_, copying) = Attached::new(link, layout, limits(), short)
        .begin(1)
        .unwrap();
    let (_, quiesced) = copying
        .stop(Duration::ZERO, &one_by_one(&mut Store::default()))
        .unwrap();
    while guest.held() {
        std::thread::yield_now();
    }
    // Too late: nobody hears it, and the program keeps its state.
    let refused = quiesced.unload().unwrap_err();
    assert!(
        matches!(refused.error, HostError::Port(PortError::Silent(_))),
        "{}",
        refused.error
    );
    peer.close(refused.link.unwrap(), AGES).unwrap();
    assert!(guest.objects().is_some());
    // And it can be moved again.
    let session = attached(&mut peer);
    peer.close(session.into_link(), AGES).unwrap();
    drop(peer);
    guest.ended();
}

/// The gate's closing time-out is added to the guest's patience afterwards: dom0 may be draining other sessions.
#[test]
fn a_stopped_program_waits_as_long_as_a_drain_may_take() {
    let silence = Duration::from_millis(300);
    let mut guest = Guest::start(Memory::new(some_objects(100)), 20, silence);
    let mut peer = guest.peer();
    let (_, copying) = attached(&mut peer).begin(1).unwrap();
    let (_, quiesced) = copying
        .stop(AGES, &one_by_one(&mut Store::default()))
        .unwrap();
    std::thread::sleep(3 * silence);
    assert!(guest.held());
    let (_, session) = quiesced.resume().unwrap();
    peer.close(session.into_link(), AGES).unwrap();
    drop(peer);
    guest.ended();
}

/// A new daemon that knows nothing of the open link just opens.
#[test]
fn an_open_link_can_be_opened_again() {
    let mut guest = Guest::start(Memory::new(some_objects(100)), 20, AGES);
    let mut peer = guest.peer();
    let (_, copying) = attached(&mut peer).begin(1).unwrap();
    let (_, quiesced) = copying
        .stop(AGES, &one_by_one(&mut Store::default()))
        .unwrap();
    let (link, layout) = open(&mut peer);
    assert!(!guest.held(), "the old daemon's stop is over");
    let again = Attached::new(link, layout, limits(), patient());
    let (_, copying) = again.begin(2).unwrap();
    drop(quiesced);
    peer.close(resumed(copying).into_link(), AGES).unwrap();
    drop(peer);
    guest.ended();
}

/// The text of a failure waits for a slot that dom0 has read.
#[test]
fn a_failures_text_overwrites_nothing_unread() {
    let (mut memory, program) = Memory::new(some_objects(3000));
    memory.fail_one_in = 1;
    memory.rng = Rng::new(1);
    let mut guest = Guest::start((memory, program), 5, AGES);
    let mut peer = guest.peer();
    let (link, layout) = open(&mut peer);
    let mut host = RawHost::new(link, layout);
    for n in 0..3 {
        host.try_send(&ToGuest::Begin { generation: n }.encode())
            .unwrap();
    }
    // One slot: the first failure has it, the second waits for it, and neither is lost.
    for _ in 0..2 {
        let slot = loop {
            match host.try_recv() {
                Some(ToHost::Failed { slot, .. }) => break slot,
                Some(other) => panic!("{other:?}"),
                None => std::thread::yield_now(),
            }
        };
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(host.try_recv(), None);
        host.try_send(&ToGuest::SlotFree { slot }.encode()).unwrap();
    }
    peer.close(host.link, AGES).unwrap();
    drop(peer);
    guest.ended();
}
