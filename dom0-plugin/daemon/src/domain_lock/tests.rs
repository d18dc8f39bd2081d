use super::*;

const AGES: LockPatience = LockPatience {
    standstill: Duration::from_secs(60),
    in_all: Duration::from_secs(3600),
};

fn alone(
    locks: &Arc<DomainLocks>,
    what: &'static str,
    patience: LockPatience,
) -> Result<DomainLock, Busy> {
    locks.alone(1, what, patience, &AtomicBool::new(false))
}

#[test]
fn alone_keeps_everybody_out() {
    let locks = Arc::new(DomainLocks::default());
    let lock = alone(&locks, "a migration", LockPatience::NONE).unwrap();
    assert!(locks.serving(1).is_none());
    let busy = alone(&locks, "detach", AGES).unwrap_err();
    assert!(busy.to_string().contains("a migration"), "{busy}");
    let other = locks.alone(2, "detach", LockPatience::NONE, &AtomicBool::new(false));
    assert!(other.is_ok());
    drop(lock);
    assert!(locks.serving(1).is_some());
}

#[test]
fn those_who_serve_are_waited_for() {
    let locks = Arc::new(DomainLocks::default());
    let first = locks.serving(1).unwrap();
    let second = locks.serving(1).unwrap();
    assert!(alone(&locks, "a migration", LockPatience::NONE).is_err());
    let waiting = std::thread::spawn({
        let locks = locks.clone();
        move || alone(&locks, "a migration", AGES).map(drop)
    });
    drop(first);
    drop(second);
    waiting.join().unwrap().unwrap();
    assert_eq!(locks.what(1), None);
}

#[test]
fn those_who_move_on_are_waited_for_longer() {
    let locks = Arc::new(DomainLocks::default());
    let serving = locks.serving(1).unwrap();
    let standstill = 4 * LOOK;
    let patience = LockPatience { standstill, ..AGES };
    let waiting = std::thread::spawn({
        let locks = locks.clone();
        move || alone(&locks, "a migration", patience).map(drop)
    });
    let begun = Instant::now();
    while begun.elapsed() < 3 * standstill {
        serving.moved_on();
        std::thread::sleep(LOOK / 4);
    }
    drop(serving);
    waiting.join().unwrap().unwrap();
}

#[test]
fn those_who_move_on_for_ever_are_not_waited_for_so_long() {
    let locks = Arc::new(DomainLocks::default());
    let serving = locks.serving(1).unwrap();
    let patience = LockPatience {
        in_all: 4 * LOOK,
        ..AGES
    };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| alone(&locks, "a migration", patience).map(drop));
        while !waiting.is_finished() {
            serving.moved_on();
            std::thread::sleep(LOOK / 4);
        }
        waiting.join().unwrap().unwrap_err();
    });
}

#[test]
fn a_wait_can_be_called_off() {
    let locks = Arc::new(DomainLocks::default());
    let _serving = locks.serving(1).unwrap();
    let cancelled = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let endless = LockPatience {
                standstill: Duration::from_secs(3600),
                ..AGES
            };
            locks.alone(1, "a migration", endless, &cancelled).map(drop)
        });
        cancelled.store(true, Ordering::Relaxed);
        waiting.join().unwrap().unwrap_err();
    });
}

#[test]
fn a_shared_claim_lets_others_serve() {
    let locks = Arc::new(DomainLocks::default());
    let lock = alone(&locks, "a migration", LockPatience::NONE).unwrap();
    lock.share();
    let other = locks.serving(1).unwrap();
    drop(lock);
    assert!(alone(&locks, "detach", LockPatience::NONE).is_err());
    drop(other);
    assert!(alone(&locks, "detach", LockPatience::NONE).is_ok());
}

#[test]
fn a_look_that_was_refused_is_made_up_for() {
    let (sender, looks) = std::sync::mpsc::channel();
    let locks = Arc::new(DomainLocks::new(sender));
    let lock = alone(&locks, "a migration", LockPatience::NONE).unwrap();
    drop(lock);
    assert!(looks.try_recv().is_err(), "nobody was refused");
    for shared in [false, true] {
        let lock = alone(&locks, "a migration", LockPatience::NONE).unwrap();
        assert!(locks.serving(1).is_none());
        assert!(locks.serving(1).is_none());
        assert!(looks.try_recv().is_err(), "it would be refused again");
        if shared {
            lock.share();
            let other = locks.serving(1).unwrap();
            drop(lock);
            assert!(looks.try_recv().is_err(), "whoever shares serves first");
            drop(other);
        } else {
            drop(lock);
        }
        assert_eq!(looks.try_recv(), Ok(1));
        assert!(looks.try_recv().is_err(), "once");
    }
}
