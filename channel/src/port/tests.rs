//! A port's waits: patience, interrupts, doorbells that never rest.

use super::*;
use crate::memory::{SharedRegion, private_region};
use crate::ring::{ENTRIES, RingMem};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const PAGES: usize = 8;
const SHORT: Duration = Duration::from_millis(3);
const LONG: Duration = Duration::from_secs(20);

/// Private pages and two eventfds.
#[derive(Clone)]
struct Pair {
    memory: Arc<SharedRegion>,
    theirs: Arc<OwnedFd>,
    ours: Arc<OwnedFd>,
}

impl Link for Pair {
    fn memory(&self) -> &SharedRegion {
        &self.memory
    }
    fn notify(&self) -> io::Result<()> {
        rustix::io::write(&self.theirs, &1u64.to_ne_bytes())?;
        Ok(())
    }
    fn fd(&self) -> BorrowedFd<'_> {
        (*self.ours).as_fd()
    }
    fn clear(&self) -> io::Result<()> {
        rustix::io::read(&self.ours, &mut [0; 8])?;
        Ok(())
    }
}

fn interrupt(raised: u32) -> OwnedFd {
    eventfd(raised, EventfdFlags::CLOEXEC).unwrap()
}

fn ports() -> (Port<Pair>, Port<Pair>) {
    let memory = Arc::new(private_region(PAGES * PAGE_SIZE));
    let layout = Layout::format(&memory, &[0; PAGES]);
    let (one, other) = (Arc::new(interrupt(0)), Arc::new(interrupt(0)));
    let guest = Pair {
        memory: memory.clone(),
        theirs: one.clone(),
        ours: other.clone(),
    };
    let host = Pair {
        memory,
        theirs: other,
        ours: one,
    };
    (Port::guest(guest, layout), Port::host(host, layout))
}

#[test]
fn messages_cross_both_ways() {
    let (mut guest, mut host) = ports();
    let quiet = interrupt(0);
    let begin = ToGuest::Begin { generation: 4 };
    host.send_to_guest(begin, SHORT).unwrap();
    let got = guest.recv_from_host(Some(LONG), quiet.as_fd()).unwrap();
    assert_eq!(got, begin);
    let begun = ToHost::Begun {
        buffers: 1,
        bytes: 2,
        contexts: 0,
        left: 0,
        pinned: 0,
    };
    guest.send_to_host(begun, SHORT, quiet.as_fd()).unwrap();
    assert_eq!(host.recv_from_guest(LONG).unwrap(), begun);
}

#[test]
fn silence_has_an_end() {
    let (mut guest, mut host) = ports();
    assert!(matches!(host.recv_from_guest(SHORT), Err(PortError::Silent(p)) if p == SHORT));
    let quiet = interrupt(0);
    let silent = guest.recv_from_host(Some(SHORT), quiet.as_fd());
    assert!(matches!(silent, Err(PortError::Silent(_))));
}

#[test]
fn a_full_ring_is_waited_for_only_so_long() {
    let (mut guest, mut host) = ports();
    let command = ToGuest::Resume {};
    for _ in 0..ENTRIES {
        host.send_to_guest(command, SHORT).unwrap();
    }
    let full = host.send_to_guest(command, SHORT);
    assert!(matches!(full, Err(PortError::Silent(_))));

    // The guest's wait for room can be interrupted, too.
    let raised = interrupt(1);
    let busy = ToHost::Busy {};
    for _ in 0..ENTRIES {
        guest.send_to_host(busy, SHORT, raised.as_fd()).unwrap();
    }
    let full = guest.send_to_host(busy, LONG, raised.as_fd());
    assert!(matches!(full, Err(PortError::Interrupted)));
    host.recv_from_guest(SHORT).unwrap();
    guest.send_to_host(busy, SHORT, raised.as_fd()).unwrap();
}

#[test]
fn what_came_before_an_interrupt_counts() {
    let (mut guest, mut host) = ports();
    let raised = interrupt(1);
    host.send_to_guest(ToGuest::Unload {}, SHORT).unwrap();
    let got = guest.recv_from_host(None, raised.as_fd()).unwrap();
    assert_eq!(got, ToGuest::Unload {});
    let none = guest.recv_from_host(None, raised.as_fd());
    assert!(matches!(none, Err(PortError::Interrupted)));
}

/// Rings without an entry behind them hide neither the end of patience nor an interrupt.
#[test]
fn a_bell_that_never_rests_hides_nothing() {
    let (mut guest, mut host) = ports();
    let done = AtomicBool::new(false);
    let ringing = |link: Pair| {
        while !done.load(Ordering::Relaxed) {
            link.notify().unwrap();
        }
    };
    std::thread::scope(|s| {
        let (to_host, to_guest) = (guest.link.clone(), host.link.clone());
        s.spawn(|| ringing(to_host));
        s.spawn(|| ringing(to_guest));
        let silent = host.recv_from_guest(10 * SHORT);
        let raised = interrupt(1);
        let called_off = guest.recv_from_host(None, raised.as_fd());
        done.store(true, Ordering::Relaxed);
        assert!(matches!(silent, Err(PortError::Silent(_))));
        assert!(matches!(called_off, Err(PortError::Interrupted)));
    });
}

#[test]
fn endless_patience_is_no_overflow() {
    let (mut guest, mut host) = ports();
    let quiet = interrupt(0);
    guest
        .send_to_host(ToHost::Busy {}, Duration::MAX, quiet.as_fd())
        .unwrap();
    let got = host.recv_from_guest(Duration::MAX).unwrap();
    assert_eq!(got, ToHost::Busy {});
}

#[test]
fn unknown_messages_and_impossible_indices_end_the_link() {
    let (guest, mut host) = ports();
    let ring = guest.layout.guest_to_dom0(guest.link.memory());
    ring.write(0, &[0xff; 64]);
    ring.store_producer(1);
    assert!(matches!(
        host.recv_from_guest(SHORT),
        Err(PortError::Unknown(Unknown(u64::MAX)))
    ));
    ring.store_producer(70);
    assert!(matches!(
        host.recv_from_guest(SHORT),
        Err(PortError::Corrupt(Corrupt {
            ours: 1,
            theirs: 70
        }))
    ));
}
