//! What a session tells unasked of its state: its guest's PCI bus, and that it woke up elsewhere.

use xl_gpu_channel::host::one_by_one;
use xl_gpu_channel::link::wait_readable;

use crate::*;

/// dom0 may ask for a look whenever it likes: an open link stays open, and a step goes on.
#[test]
fn a_look_disturbs_nothing() {
    let mut guest = Guest::start(Memory::new(some_objects(3000)), 20, AGES);
    let mut peer = guest.peer();
    let rescans = |peer: &mut LoopbackPeer, rescan| {
        peer.look(rescan, AGES).unwrap();
        let bus = peer.announcement().bus.clone();
        bus.expect("it looks").may_rescan
    };
    let bus = peer.announcement().bus.as_ref();
    assert!(!bus.expect("it tells without being asked").may_rescan);
    assert!(rescans(&mut peer, true) && !rescans(&mut peer, false));
    let session = attached(&mut peer);
    assert!(rescans(&mut peer, true), "the link is open");
    let (_, mut copying) = session.begin(1).unwrap();
    let mut store = Store::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..30 {
                assert_eq!(rescans(&mut peer, n % 2 == 0), n % 2 == 0);
            }
        });
        for number in 0..30 {
            copying.round(number, &one_by_one(&mut store)).unwrap();
        }
    });
    let (_, quiesced) = copying.stop(AGES, &one_by_one(&mut store)).unwrap();
    assert!(rescans(&mut peer, true), "the program waits");
    assert_eq!(Some(&store.objects), guest.objects().as_ref());
    let (_, detached) = quiesced.unload().unwrap();
    assert!(rescans(&mut peer, true), "the driver is gone");
    let (_, session) = detached.restore(1, &store, &mut |_| ()).unwrap();
    peer.close(session.into_link(), AGES).unwrap();
    drop(peer);
    guest.ended();
}

/// Is asked to look when the link has broken: only then it is asked for a request without being readable.
struct Late {
    inner: LoopbackRendezvous,
    is_open: bool,
    looked: mpsc::Sender<()>,
}

impl Rendezvous for Late {
    fn announce(&mut self, announcement: &Announcement) -> io::Result<()> {
        self.inner.announce(announcement)
    }
    fn fd(&self) -> BorrowedFd<'_> {
        self.inner.fd()
    }
    fn next(&mut self) -> io::Result<Option<Request>> {
        let is_readable = wait_readable(&[self.inner.fd()], Some(Duration::ZERO))?;
        if self.is_open && !is_readable {
            self.is_open = false;
            return Ok(Some(Request::Look));
        }
        self.inner.next()
    }
    fn share(&mut self, pages: usize) -> io::Result<Box<dyn GuestLink>> {
        self.inner.share(pages)
    }
    fn publish(&mut self, link: &dyn GuestLink) -> io::Result<()> {
        self.is_open = true;
        self.inner.publish(link)
    }
    fn close(&mut self, link: Option<Box<dyn GuestLink>>) -> io::Result<()> {
        self.inner.close(link)
    }
    fn fail(&mut self, reason: &str) -> io::Result<()> {
        self.inner.fail(reason)
    }
    fn looked(&mut self) -> io::Result<()> {
        self.looked.send(()).map_err(io::Error::other)
    }
}

/// dom0 would take it for one that is busy, for good.
#[test]
fn a_look_that_outlives_its_link_is_answered() {
    let meeting = Meeting::new();
    let (looked, looks) = mpsc::channel();
    let mut late = Late {
        inner: LoopbackRendezvous::connect(&meeting.path).unwrap(),
        is_open: false,
        looked,
    };
    let soon = Duration::from_millis(10);
    let (memory, _program) = Memory::new(some_objects(1));
    let mut session = Session::new(memory, announcement(), 20).with_timeouts(GuestTimeouts {
        silence: soon,
        idle: soon,
    });
    let running = std::thread::spawn(move || session.run(&mut late).kind());
    let mut peer = meeting.listener.accept(AGES).unwrap();
    let opened = open(&mut peer);
    looks.recv_timeout(AGES).expect("it is answered");
    drop((opened, peer));
    running.join().unwrap();
}

/// The nodes are gone once; then dom0 is.
struct Gone {
    is_other_domain: bool,
    noise: OwnedFd,
    asked: bool,
}

impl Rendezvous for Gone {
    fn announce(&mut self, _: &Announcement) -> io::Result<()> {
        Ok(())
    }
    fn fd(&self) -> BorrowedFd<'_> {
        self.noise.as_fd()
    }
    fn next(&mut self) -> io::Result<Option<Request>> {
        match std::mem::replace(&mut self.asked, true) {
            false => Ok(Some(Request::Announce)),
            true => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
    fn share(&mut self, _: usize) -> io::Result<Box<dyn GuestLink>> {
        Err(ErrorKind::Unsupported.into())
    }
    fn publish(&mut self, _: &dyn GuestLink) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
    fn close(&mut self, _: Option<Box<dyn GuestLink>>) -> io::Result<()> {
        Ok(())
    }
    fn fail(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn is_other_domain(&mut self) -> bool {
        self.is_other_domain
    }
}

#[test]
fn a_program_learns_that_it_was_moved_without_us() {
    for is_other_domain in [false, true] {
        let (memory, program) = Memory::new(some_objects(1));
        let mut gone = Gone {
            is_other_domain,
            noise: eventfd(1, EventfdFlags::CLOEXEC).unwrap(),
            asked: false,
        };
        let error = Session::new(memory, announcement(), 20).run(&mut gone);
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(program.lock().unwrap().moved, is_other_domain);
    }
}
