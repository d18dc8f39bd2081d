//! One hostile act at a time, and the error it has to end in.

mod common;

use common::raw::RawGuest;
use common::{AGES, Meeting, SECOND, Store, limits, patient};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use xl_gpu_channel::host::{
    Attached, Copying, Detached, HostError, HostTimeouts, Sink, StepLimits, one_by_one,
};
use xl_gpu_channel::image::{Batch, BatchBuilder};
use xl_gpu_channel::layout::Layout;
use xl_gpu_channel::link::{Link, Peer};
use xl_gpu_channel::message::{STOP_ROUND, ToGuest, ToHost};
use xl_gpu_channel::port::PortError;
use xl_gpu_channel::ring::RingMem;

type L = Box<dyn Link>;
const SHORT: HostTimeouts = HostTimeouts {
    silence: Duration::from_millis(200),
};

/// dom0 on this thread against `guest` on another one.
fn against(pages: usize, guest: impl FnOnce(RawGuest) + Send, dom0: impl FnOnce(L, Layout)) {
    let meeting = Meeting::new();
    std::thread::scope(|s| {
        let path = &meeting.path;
        s.spawn(move || guest(RawGuest::meet(path, pages, |_| ())));
        let mut peer = meeting.listener.accept(AGES).unwrap();
        let (link, layout) = peer.open(AGES).unwrap();
        dom0(link, layout);
    });
}

fn begun(guest: &mut RawGuest) {
    guest.expect(ToGuest::Begin { generation: 1 });
    guest.send(ToHost::Begun {
        buffers: 1,
        bytes: 1,
    });
}

fn begin(link: L, layout: Layout, limits: StepLimits, timeouts: HostTimeouts) -> Copying<L> {
    let attached = Attached::new(link, layout, limits, timeouts);
    attached.begin(1).unwrap().1
}

/// The error of a round in which the guest does `act`.
fn round_against(act: impl FnOnce(&mut RawGuest) + Send) -> HostError {
    let (tx, rx) = std::sync::mpsc::channel();
    let guest = |mut guest: RawGuest| {
        begun(&mut guest);
        guest.expect(ToGuest::Round { number: 0 });
        act(&mut guest);
        while guest.recv().is_some() {}
    };
    against(40, guest, |link, layout| {
        let few = StepLimits {
            round_bytes: 10_000,
            ..limits()
        };
        let mut copying = begin(link, layout, few, patient());
        let error = copying
            .round(0, &one_by_one(&mut Store::default()))
            .unwrap_err();
        tx.send(error).unwrap();
    });
    let error = rx.recv().unwrap();
    assert!(error.ends_the_link(), "{error}");
    error
}

fn data(slot: u64, payload: u64, extents: u64) -> ToHost {
    ToHost::Data {
        slot,
        round: 0,
        payload,
        extents,
    }
}

#[test]
fn numbers_outside_the_layout_end_the_link() {
    for (message, field) in [
        (data(16, 1, 1), "slot"),
        (data(u64::MAX, 1, 1), "slot"),
        (data(0, 1 << 40, 1), "length"),
        (data(0, u64::MAX, 1), "length"),
        (data(0, 1, 0), "extent count"),
        (data(0, 1, 86), "extent count"),
        (data(0, 1, u64::MAX), "extent count"),
        (ToHost::Failed { slot: 99, len: 1 }, "slot"),
        (
            ToHost::Failed {
                slot: 0,
                len: 1 << 33,
            },
            "length",
        ),
        (
            ToHost::RoundDone {
                number: 0,
                bytes: u64::MAX,
                dirty: 0,
                whole: 0,
                why: 0,
            },
            "byte count",
        ),
        (
            ToHost::RoundDone {
                number: 0,
                bytes: 0,
                dirty: 1 << 60,
                whole: 0,
                why: 0,
            },
            "dirty bytes",
        ),
        (
            ToHost::RoundDone {
                number: 0,
                bytes: 0,
                dirty: 0,
                whole: u64::MAX,
                why: u64::MAX,
            },
            "bytes sent whole",
        ),
    ] {
        let error = round_against(|guest| guest.send(message));
        assert!(
            matches!(error, HostError::Outside { what, .. } if what == field),
            "{message:?}: {error}"
        );
    }
}

#[test]
fn answers_to_other_questions_end_the_link() {
    let stale = ToHost::Data {
        slot: 0,
        round: 3,
        payload: 1,
        extents: 1,
    };
    let wrong_number = ToHost::RoundDone {
        number: 1,
        bytes: 0,
        dirty: 0,
        whole: 0,
        why: 0,
    };
    for message in [stale, wrong_number, ToHost::Resumed { blackout_ns: 0 }] {
        let error = round_against(|guest| guest.send(message));
        assert!(matches!(error, HostError::OutOfTurn { .. }), "{error}");
    }
}

#[test]
fn a_batch_of_noise_ends_the_link() {
    let error = round_against(|guest| {
        let mut batch = BatchBuilder::new(64, 1);
        assert!(batch.push_data(1, 8, 0, &[1; 8]));
        guest.put(0, &batch);
        let memory = guest.link.memory();
        let table = guest.layout.table(memory, 0);
        // The extent's offset.
        table.slice(16, 8).unwrap().write(&u64::MAX.to_le_bytes());
        guest.send(data(0, 8, 1));
    });
    assert!(matches!(error, HostError::Batch(_)), "{error}");
}

#[test]
fn more_than_the_limit_ends_the_link() {
    let error = round_against(|guest| {
        for slot in 0..3 {
            guest.send_good(slot, 0, 4000);
        }
    });
    assert!(
        matches!(
            error,
            HostError::TooMuch {
                what: "bytes",
                limit: 10_000
            }
        ),
        "{error}"
    );
}

#[test]
fn a_guest_that_is_busy_for_ever_is_cut() {
    let guest = |mut guest: RawGuest| {
        begun(&mut guest);
        while guest.rendezvous_is_quiet() {
            guest.try_send(&ToHost::Busy {}.encode());
        }
    };
    against(8, guest, |link, layout| {
        let mut copying = begin(link, layout, limits(), HostTimeouts { silence: SECOND });
        let error = copying
            .round(0, &one_by_one(&mut Store::default()))
            .unwrap_err();
        assert!(matches!(error, HostError::TooSlow(_)), "{error}");
    });
}

/// Unanswered, but not silent for long at a time either.
#[test]
fn a_guest_that_trickles_is_cut() {
    let guest = |mut guest: RawGuest| {
        guest.expect(ToGuest::Begin { generation: 1 });
        guest.send(ToHost::Begun {
            buffers: 1,
            bytes: 1,
        });
        let mut slot = 0;
        while guest.rendezvous_is_quiet() {
            std::thread::sleep(SHORT.silence / 4);
            guest.try_send_good(slot, 0, 1);
            slot = (slot + 1) % 2;
        }
    };
    against(8, guest, |link, layout| {
        let mut copying = begin(link, layout, limits(), SHORT);
        let error = copying
            .round(0, &one_by_one(&mut Store::default()))
            .unwrap_err();
        // On a slow machine a pause may be long enough to be a silence.
        let cut = matches!(
            error,
            HostError::TooSlow(_) | HostError::Port(PortError::Silent(_))
        );
        assert!(cut, "{error}");
    });
}

/// A drain may be silent for as long as dom0 itself allowed.
#[test]
fn a_stop_may_drain_for_its_time_out() {
    let stopped = ToHost::Stopped {
        bytes: 0,
        buffers: 0,
        drain_ns: 0,
        copy_ns: 0,
        compare_ns: 0,
        examined: 0,
    };
    let guest = |mut guest: RawGuest| {
        begun(&mut guest);
        while !matches!(guest.recv(), Some(ToGuest::Stop { .. })) {}
        std::thread::sleep(3 * SHORT.silence);
        guest.send(stopped);
        while guest.recv().is_some() {}
    };
    against(8, guest, |link, layout| {
        let copying = begin(link, layout, limits(), SHORT);
        copying
            .stop(AGES, &one_by_one(&mut Store::default()))
            .unwrap();
    });
}

#[test]
fn a_stop_without_a_word_is_cut() {
    let guest = |mut guest: RawGuest| {
        begun(&mut guest);
        while guest.recv().is_some() {}
    };
    against(8, guest, |link, layout| {
        let copying = begin(link, layout, limits(), SHORT);
        let refused = copying
            .stop(SHORT.silence, &one_by_one(&mut Store::default()))
            .unwrap_err();
        assert!(matches!(
            refused.error,
            HostError::Port(PortError::Silent(_))
        ));
        assert!(refused.session.is_none() && refused.link.is_some());
    });
}

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

#[test]
fn data_nobody_asked_for_ends_the_link() {
    let guest = |mut guest: RawGuest| {
        guest.expect(ToGuest::Begin { generation: 1 });
        guest.send_good(0, 0, 8);
        while guest.recv().is_some() {}
    };
    against(8, guest, |link, layout| {
        let attached = Attached::new(link, layout, limits(), patient());
        let refused = attached.begin(1).unwrap_err();
        assert!(
            matches!(refused.error, HostError::OutOfTurn { .. }) && refused.session.is_none(),
            "{}",
            refused.error
        );
    });
}

#[test]
fn a_rounds_number_is_not_the_stops() {
    let guest = |mut guest: RawGuest| {
        begun(&mut guest);
        assert_eq!(guest.recv(), None);
    };
    against(8, guest, |link, layout| {
        let mut copying = begin(link, layout, limits(), patient());
        let error = copying
            .round(STOP_ROUND, &one_by_one(&mut Store::default()))
            .unwrap_err();
        assert!(matches!(error, HostError::RoundNumber(STOP_ROUND)));
        assert!(!error.ends_the_link());
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

/// Times that no step can have taken.
#[test]
fn times_above_a_day_end_the_link() {
    let day = 24 * 3600 * 1_000_000_000;
    for (times, field) in [
        ([day + 1, 0, 0], "drain time"),
        ([0, u64::MAX, 0], "copy time"),
        ([0, 0, 1 << 62], "comparison time"),
    ] {
        let [drain_ns, copy_ns, compare_ns] = times;
        let guest = |mut guest: RawGuest| {
            begun(&mut guest);
            while !matches!(guest.recv(), Some(ToGuest::Stop { .. })) {}
            guest.send(ToHost::Stopped {
                bytes: 0,
                buffers: 0,
                drain_ns,
                copy_ns,
                compare_ns,
                examined: 0,
            });
            while guest.recv().is_some() {}
        };
        against(8, guest, |link, layout| {
            let copying = begin(link, layout, limits(), patient());
            let refused = copying
                .stop(AGES, &one_by_one(&mut Store::default()))
                .unwrap_err();
            let error = refused.error;
            assert!(
                matches!(error, HostError::Outside { what, .. } if what == field),
                "{error}"
            );
        });
    }
}

/// A domain may have been saved for long: what its programs waited for is no part of a step.
#[test]
fn a_long_blackout_is_none_of_them() {
    let year = 366 * 24 * 3600 * 1_000_000_000;
    let guest = |mut guest: RawGuest| {
        guest.expect(ToGuest::Restore { generation: 1 });
        guest.send(ToHost::Opened {
            blackout_ns: year,
            downtime_ns: year,
            reload_ns: 1,
        });
        guest.send(ToHost::Restored { bytes: 0 });
        while guest.recv().is_some() {}
    };
    against(8, guest, |link, layout| {
        let detached = Detached::new(link, layout, limits(), patient());
        let store = Store::default();
        let (restored, _) = detached.restore(1, &store, &mut |_| ()).unwrap();
        assert_eq!(restored.blackout_ns, year);
    });
}

const OPENED: ToHost = ToHost::Opened {
    blackout_ns: 1,
    downtime_ns: 0,
    reload_ns: 0,
};

/// The error of a restore in which the guest sends `first`, then `message` until dom0 leaves: each after an answer
/// to the one before where it is `polite`.
fn restore_against(
    first: &'static [ToHost],
    message: ToHost,
    polite: bool,
    limits: StepLimits,
) -> HostError {
    let (tx, rx) = std::sync::mpsc::channel();
    let guest = move |mut guest: RawGuest| {
        guest.expect(ToGuest::Restore { generation: 1 });
        for message in first {
            guest.send(*message);
        }
        while guest.rendezvous_is_quiet() {
            guest.try_send(&message.encode());
            while polite && guest.rendezvous_is_quiet() && guest.try_recv().is_none() {
                std::thread::yield_now();
            }
        }
    };
    against(8, guest, |link, layout| {
        let detached = Detached::new(link, layout, limits, patient());
        let mut store = Store::default();
        store.objects.insert(1, vec![1; 4096]);
        let refused = detached.restore(1, &store, &mut |_| ()).unwrap_err();
        tx.send(refused.error).unwrap();
    });
    let error = rx.recv().unwrap();
    assert!(error.ends_the_link(), "{error}");
    error
}

fn fetch(object: u64, len: u64) -> ToHost {
    ToHost::Fetch {
        slot: 0,
        object,
        offset: 0,
        len,
    }
}

#[test]
fn fetches_are_bounded() {
    let few = StepLimits {
        round_bytes: 100_000,
        ..limits()
    };
    let error = restore_against(&[OPENED], fetch(1, 0), false, few);
    assert!(
        matches!(error, HostError::Outside { what: "length", .. }),
        "{error}"
    );
    let error = restore_against(&[OPENED], fetch(1, 1 << 30), false, few);
    assert!(
        matches!(error, HostError::Outside { what: "length", .. }),
        "{error}"
    );
    let error = restore_against(&[OPENED], fetch(1, 4096), true, few);
    assert!(
        matches!(
            error,
            HostError::TooMuch {
                what: "bytes fetched",
                ..
            }
        ),
        "{error}"
    );
    let error = restore_against(&[OPENED], fetch(2, 4096), true, few);
    assert!(
        matches!(
            error,
            HostError::TooMuch {
                what: "fetches that fail",
                ..
            }
        ),
        "{error}"
    );
}

/// What a guest calls a failure is text for an operator's terminal.
#[test]
fn a_failures_text_is_harmless() {
    let text = "no\u{1b}[2J\u{7}\r\n\u{202e}way\u{0} é";
    let guest = |mut guest: RawGuest| {
        guest.expect(ToGuest::Begin { generation: 1 });
        let memory = guest.link.memory();
        let area = guest.layout.payload(memory, 1);
        area.slice(0, text.len()).unwrap().write(text.as_bytes());
        guest.send(ToHost::Failed {
            slot: 1,
            len: text.len() as u64,
        });
        guest.expect(ToGuest::SlotFree { slot: 1 });
    };
    against(40, guest, |link, layout| {
        let attached = Attached::new(link, layout, limits(), patient());
        let refused = attached.begin(1).unwrap_err();
        assert!(
            matches!(&refused.error, HostError::Refused(t) if t == "no [2J    way  é"),
            "{}",
            refused.error
        );
        assert!(refused.session.is_some());
    });
}

/// `Restored` and fetches come after `Opened`, and that comes once.
#[test]
fn a_restore_has_its_order() {
    let wrong: [(&'static [ToHost], ToHost); 4] = [
        (&[], fetch(1, 4096)),
        (&[], ToHost::Restored { bytes: 0 }),
        (&[OPENED], OPENED),
        (&[OPENED], ToHost::Resumed { blackout_ns: 0 }),
    ];
    for (first, then) in wrong {
        let error = restore_against(first, then, false, limits());
        assert!(
            matches!(error, HostError::OutOfTurn { answer, .. } if answer == then),
            "{error}"
        );
    }
}

/// A slot has one fetch at a time: a guest cannot make dom0's queue longer than its slots.
#[test]
fn a_slot_that_is_being_filled_is_not_asked_for() {
    let error = restore_against(&[OPENED], fetch(1, 4096), false, limits());
    assert!(
        matches!(
            error,
            HostError::Outside { what, value: 0 } if what.starts_with("slot")
        ) || matches!(error, HostError::TooMuch { .. }),
        "{error}"
    );
}
