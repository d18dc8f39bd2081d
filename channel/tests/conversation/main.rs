//! Both ends keep the rules, and everything around them fails: programs, spools, daemons.

#[path = "../common/mod.rs"]
mod common;
mod daemon;
mod looks;

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
use xl_gpu_channel::host::{self, Attached, Copying, Detached, HostError, Refused};
use xl_gpu_channel::layout::Layout;
use xl_gpu_channel::link::{Announcement, GuestLink, Link, Peer, Rendezvous, Request, Residence};
use xl_gpu_channel::loopback::{LoopbackPeer, LoopbackRendezvous};

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
        // Now and then the gate opens again, and the capture goes on.
        let mut reopen = rng.below(3);
        let stopped = loop {
            let quiesced = match copying.stop(AGES, &Together::new(&mut store, threads)) {
                Ok((_, quiesced)) if reopen > 0 => quiesced,
                other => break other,
            };
            reopen -= 1;
            let (waited, running) = quiesced.reopen().map_err(|r| r.error).unwrap();
            assert_eq!(waited, 7);
            assert!(!guest.held());
            copying = running;
            // It may fail, and the next step sends what it did not.
            let _ = copying.round(9, &Together::new(&mut store, threads));
        };
        let quiesced = match stopped {
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
