//! Restores.

use xl_gpu_channel::host::Detached;

use crate::*;

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
