//! One hostile act at a time, and the error it has to end in.

mod call_offs;
#[path = "../common/mod.rs"]
mod common;
mod restores;
mod waits;

use common::raw::RawGuest;
use common::{AGES, Meeting, Store, limits, patient};
use std::time::Duration;
use xl_gpu_channel::host::{Attached, Copying, HostError, HostTimeouts, StepLimits, one_by_one};
use xl_gpu_channel::image::{Batch, BatchBuilder};
use xl_gpu_channel::layout::Layout;
use xl_gpu_channel::link::{Link, Peer};
use xl_gpu_channel::message::{STOP_ROUND, ToGuest, ToHost};
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
        contexts: 0,
        left: 0,
        pinned: 0,
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
                left: 0,
                pinned: 0,
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
                left: 0,
                pinned: 0,
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
                left: 0,
                pinned: 0,
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
        left: 0,
        pinned: 0,
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
