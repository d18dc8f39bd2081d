//! Steps that dom0 calls off.

use std::sync::atomic::{AtomicBool, Ordering};

use xl_gpu_channel::host::Sink;

use crate::common::SECOND;
use crate::*;

/// After a spool that failed only a resume is possible, and it drains no more than a guest can have in flight.
#[test]
fn a_resume_drains_each_slot_once() {
    let guest = |mut guest: RawGuest| {
        begun(&mut guest);
        guest.expect(ToGuest::Round { number: 0 });
        guest.try_send_good(0, 0, 8);
        guest.expect(ToGuest::SlotFree { slot: 0 });
        guest.expect(ToGuest::Resume {});
        while guest.rendezvous_is_quiet() {
            guest.try_send_good(0, 0, 8);
        }
    };
    against(40, guest, |link, layout| {
        let slots = layout.slots() as u64;
        let mut copying = begin(link, layout, limits(), patient());
        let mut full = Store {
            room: Some(0),
            ..Store::default()
        };
        let error = copying.round(0, &one_by_one(&mut full)).unwrap_err();
        assert!(matches!(error, HostError::Store(_)), "{error}");
        let error = copying.round(1, &one_by_one(&mut full)).unwrap_err();
        assert!(matches!(error, HostError::CutShort(_)), "{error}");
        assert!(!error.ends_the_link());
        let refused = copying.resume().unwrap_err();
        assert!(
            matches!(refused.error, HostError::TooMuch { limit, .. } if limit == slots),
            "{}",
            refused.error
        );
    });
}

/// The answer to the command that was cut short may be a failure: it is not the answer to the resume.
#[test]
fn a_late_failure_is_not_the_resumes_answer() {
    let guest = |mut guest: RawGuest| {
        begun(&mut guest);
        guest.expect(ToGuest::Round { number: 0 });
        guest.send_good(0, 0, 8);
        guest.send_good(1, 0, 8);
        guest.send(ToHost::Failed { slot: 2, len: 5 });
        guest.expect(ToGuest::Resume {});
        guest.send(ToHost::Resumed { blackout_ns: 3 });
        guest.expect(ToGuest::Begin { generation: 2 });
        guest.send(ToHost::Begun {
            buffers: 0,
            bytes: 0,
            contexts: 0,
            left: 0,
            pinned: 0,
        });
        while guest.recv().is_some() {}
    };
    against(40, guest, |link, layout| {
        let mut copying = begin(link, layout, limits(), patient());
        let mut full = Store {
            room: Some(0),
            ..Store::default()
        };
        copying.round(0, &one_by_one(&mut full)).unwrap_err();
        let attached = copying.resume().unwrap();
        attached.begin(2).unwrap();
    });
}

/// A sink of several threads that can be called off.
#[derive(Default)]
struct Ended(AtomicBool);

impl Sink for Ended {
    fn workers(&self) -> usize {
        4
    }

    fn called_off(&self) -> Option<xl_gpu_channel::BoxError> {
        let ended = self.0.load(Ordering::Relaxed);
        ended.then(|| "called off".into())
    }

    fn batch(&self, _: u32, _: &Batch<'_>) -> Result<(), xl_gpu_channel::BoxError> {
        Ok(())
    }
}

/// A guest that does not take its slots back holds nobody up who has called the step off.
#[test]
fn a_full_ring_does_not_outlast_a_call_off() {
    const ENTRIES: u32 = 64;
    let sink = Ended::default();
    let guest = |mut guest: RawGuest| {
        begun(&mut guest);
        guest.expect(ToGuest::Round { number: 0 });
        let slots = guest.layout.slots() as u64;
        let answers = |guest: &RawGuest| {
            let ring = guest.layout.dom0_to_guest(guest.link.memory());
            ring.load_producer()
        };
        let before = answers(&guest);
        for n in 0..ENTRIES {
            guest.send_good(u64::from(n) % slots, 0, 8);
            while answers(&guest).wrapping_sub(before) <= n {
                std::thread::yield_now();
            }
        }
        // Nothing of it has been read: there is no room for these slots.
        (0..slots).for_each(|slot| guest.send_good(slot, 0, 8));
        sink.0.store(true, Ordering::Relaxed);
        while guest.rendezvous_is_quiet() {
            std::thread::yield_now();
        }
    };
    against(40, guest, |link, layout| {
        let endless = HostTimeouts {
            silence: 3600 * SECOND,
        };
        let mut copying = begin(link, layout, limits(), endless);
        copying.round(0, &sink).unwrap_err();
    });
}
