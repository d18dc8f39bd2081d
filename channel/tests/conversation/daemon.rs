//! A daemon that dies, falls silent, or opens what is open.

use xl_gpu_channel::host::one_by_one;
use xl_gpu_channel::message::{ToGuest, ToHost};
use xl_gpu_channel::port::PortError;

use crate::common::raw::RawHost;
use crate::*;

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
