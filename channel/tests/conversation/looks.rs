//! What a session tells unasked of its state: its guest's PCI bus, and that it woke up elsewhere.

use xl_gpu_channel::host::one_by_one;

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
