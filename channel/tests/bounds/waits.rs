//! How long a guest may keep dom0 waiting.

use xl_gpu_channel::host::Detached;
use xl_gpu_channel::port::PortError;

use crate::common::SECOND;
use crate::*;

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
            contexts: 0,
            left: 0,
            pinned: 0,
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
