use super::*;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);
const MB: u64 = 1_000_000;

fn bounds() -> Bounds {
    Bounds {
        budget: 300 * MS,
        rounds: 30,
        time: Duration::from_secs(600),
        bytes: u64::MAX,
    }
}

/// 100 ms in all.
fn costs() -> Costs {
    Costs {
        drain: 10 * MS,
        unload: 40 * MS,
        arrive: 50 * MS,
        ..Costs::default()
    }
}

/// Rounds at 1 GB/s.
fn after(rounds: &mut Rounds, bytes: u64, dirty: u64) -> Decision {
    let took = Duration::from_secs_f64(bytes as f64 / 1e9);
    let at = rounds.last.map_or(Duration::ZERO, |last| last.at) + took;
    rounds.record(Sent {
        bytes,
        dirty,
        memory: None,
        took,
        at,
    });
    rounds.decide(StandingOrder::None)
}

fn begun() -> Rounds {
    Rounds::new(bounds(), costs(), 10_000 * MB)
}

#[test]
fn a_blackout_within_the_budget_is_enough() {
    let mut rounds = begun();
    assert_eq!(rounds.decide(StandingOrder::None), Decision::GoOn);
    assert_eq!(after(&mut rounds, 10_000 * MB, 1_000 * MB), Decision::GoOn);
    assert_eq!(
        after(&mut rounds, 1_000 * MB, 200 * MB),
        Decision::Stop(PrecopyEnd::Budget)
    );
    assert_eq!(rounds.prediction().total(), 300 * MS);
    assert_eq!(after(&mut rounds, 200 * MB, 201 * MB), Decision::GoOn);
}

#[test]
fn memory_takes_its_part_of_the_blackout() {
    let mut rounds = begun();
    let sent = Sent {
        bytes: 1_000 * MB,
        dirty: 100 * MB,
        memory: Some(150 * MB),
        took: Duration::from_secs(1),
        at: Duration::from_secs(1),
    };
    rounds.record(sent);
    assert_eq!(rounds.prediction().copy, 250 * MS);
    assert_eq!(rounds.decide(StandingOrder::None), Decision::GoOn);
    // Not known now: as it was.
    rounds.record(Sent {
        dirty: 40 * MB,
        memory: None,
        ..sent
    });
    assert_eq!(
        rounds.decide(StandingOrder::None),
        Decision::Stop(PrecopyEnd::Budget)
    );
}

#[test]
fn costs_that_rounds_cannot_shorten_do_not_keep_them_going() {
    let slow = Costs {
        arrive: Duration::from_secs(2),
        ..costs()
    };
    let mut rounds = Rounds::new(bounds(), slow, 10_000 * MB);
    assert_eq!(after(&mut rounds, 10_000 * MB, 500 * MB), Decision::GoOn);
    let end = Decision::Stop(PrecopyEnd::FixedCosts);
    assert_eq!(after(&mut rounds, 500 * MB, 100 * MB), end);
    assert!(
        rounds.is_of_use(StandingOrder::None),
        "each keeps the stop short"
    );
}

#[test]
fn rounds_that_do_not_help_are_given_up() {
    let mut rounds = begun();
    after(&mut rounds, 10_000 * MB, 5_000 * MB);
    assert_eq!(after(&mut rounds, 5_000 * MB, 4_990 * MB), Decision::GoOn);
    let end = Decision::Stop(PrecopyEnd::NoHelp);
    assert_eq!(after(&mut rounds, 4_990 * MB, 5_100 * MB), end);
    assert!(!rounds.is_of_use(StandingOrder::None));
    assert!(rounds.is_of_use(StandingOrder::Hold));
}

#[test]
fn a_bad_round_between_good_ones_is_forgiven() {
    let mut rounds = begun();
    for dirty in [9_000, 9_100, 8_000, 8_100, 7_000] {
        assert_eq!(after(&mut rounds, 1, dirty * MB), Decision::GoOn, "{dirty}");
    }
}

#[test]
fn a_change_of_the_rate_is_no_help() {
    let mut rounds = begun();
    for took in [8, 4, 2] {
        rounds.record(Sent {
            bytes: 5_000 * MB,
            dirty: 5_000 * MB,
            memory: None,
            took: Duration::from_secs(took),
            at: Duration::ZERO,
        });
    }
    assert_eq!(
        rounds.decide(StandingOrder::None),
        Decision::Stop(PrecopyEnd::NoHelp)
    );
}

#[test]
fn small_rounds_say_nothing_about_the_rate() {
    let mut rounds = begun();
    after(&mut rounds, 1_000 * MB, MB);
    rounds.record(Sent {
        bytes: MB,
        dirty: MB,
        memory: None,
        took: Duration::from_secs(1),
        at: Duration::ZERO,
    });
    assert_eq!(rounds.rate(), 1e9);
}

#[test]
fn limits_end_what_goes_well() {
    let shrinking = [9_000, 8_000, 7_000, 6_000].map(|dirty| dirty * MB);
    let run = |bounds: Bounds| {
        let mut rounds = Rounds::new(bounds, costs(), 10_000 * MB);
        shrinking.map(|dirty| after(&mut rounds, 10_000 * MB, dirty))
    };
    let go = Decision::GoOn;
    let of = |end| [go, go, Decision::Stop(end), Decision::Stop(end)];
    let rounds = Bounds {
        rounds: 3,
        ..bounds()
    };
    let time = Bounds {
        time: Duration::from_secs(30),
        ..bounds()
    };
    let bytes = Bounds {
        bytes: 30_000 * MB,
        ..bounds()
    };
    assert_eq!(run(rounds), of(PrecopyEnd::Rounds));
    assert_eq!(run(time), of(PrecopyEnd::Time));
    assert_eq!(run(bytes), of(PrecopyEnd::Bytes));
}

#[test]
fn no_round_at_all_is_a_limit_too() {
    let rounds = Bounds {
        rounds: 0,
        ..bounds()
    };
    let rounds = Rounds::new(rounds, costs(), 10_000 * MB);
    assert_eq!(
        rounds.decide(StandingOrder::None),
        Decision::Stop(PrecopyEnd::Rounds)
    );
    assert!(!rounds.is_of_use(StandingOrder::None));
}

#[test]
fn the_time_until_the_stop_follows_the_shrinking() {
    let mut rounds = begun();
    assert_eq!(
        rounds.eta(),
        Some(Duration::from_secs(10)),
        "the first round"
    );
    after(&mut rounds, 10_000 * MB, 2_000 * MB);
    // A fifth each: 2 s, 0.4 s; 80 MB are left then.
    assert_eq!(rounds.eta().unwrap().as_millis(), 2400);
    after(&mut rounds, 2_000 * MB, 2_000 * MB);
    assert_eq!(rounds.eta(), None, "never like that");
}

fn sent() -> impl Strategy<Value = Sent> {
    let size = prop_oneof![Just(0u64), 0..1u64 << 40, Just(1 << 56)];
    let memory = prop::option::of(0..1u64 << 40);
    (size.clone(), size, memory, 0..1u64 << 40).prop_map(|(bytes, dirty, memory, ns)| Sent {
        bytes,
        dirty,
        memory,
        took: Duration::from_nanos(ns),
        at: Duration::ZERO,
    })
}

fn any_costs() -> impl Strategy<Value = Costs> {
    (0..5_000u64, 0..5_000u64).prop_map(|(drain, arrive)| Costs {
        drain: Duration::from_millis(drain),
        arrive: Duration::from_millis(arrive),
        ..Costs::default()
    })
}

proptest! {
    /// Whatever a guest claims: the figures stay figures, and what is decided is true of them.
    #[test]
    fn a_decision_holds_what_its_reason_says(
        costs in any_costs(), limit in 1u32..40, byte_limit in 1u64..1 << 42,
        all in prop::collection::vec(sent(), 1..60),
    ) {
        let bounds = Bounds { rounds: limit, bytes: byte_limit, ..bounds() };
        let mut rounds = Rounds::new(bounds, costs, 1 << 35);
        let mut at = Duration::ZERO;
        let mut bytes = 0u64;
        for (n, sent) in all.into_iter().enumerate() {
            at += sent.took;
            bytes = bytes.saturating_add(sent.bytes);
            rounds.record(Sent { at, ..sent });
            let total = rounds.prediction().total();
            prop_assert!(rounds.rate() > 0.0 && rounds.rate().is_finite());
            let end = match rounds.decide(StandingOrder::None) {
                Decision::Stop(end) => Some(end),
                _ => None,
            };
            prop_assert_eq!(end == Some(PrecopyEnd::Budget), total <= bounds.budget);
            match end {
                Some(PrecopyEnd::FixedCosts) => prop_assert!(costs.total() >= bounds.budget),
                Some(PrecopyEnd::Rounds) => prop_assert!(n as u32 + 1 >= limit),
                Some(PrecopyEnd::Time) => prop_assert!(at >= bounds.time),
                Some(PrecopyEnd::Bytes) => prop_assert!(bytes >= byte_limit),
                Some(PrecopyEnd::NoHelp) => prop_assert!(n >= 2),
                Some(PrecopyEnd::Forced) => prop_assert!(false, "nobody forced it"),
                Some(PrecopyEnd::Budget) => {}
                None => prop_assert!((n as u32 + 1) < limit && bytes < byte_limit && at < bounds.time),
            }
            prop_assert_eq!(rounds.decide(StandingOrder::Hold), Decision::Hold);
            prop_assert_eq!(rounds.decide(StandingOrder::Force), Decision::Stop(PrecopyEnd::Forced));
            if end.is_some() {
                prop_assert_eq!(rounds.eta(), Some(Duration::ZERO));
            }
        }
    }

    /// Less left to copy is never worse.
    #[test]
    fn less_dirt_predicts_no_more(costs in any_costs(), sent in sent(), less in 0.0..1.0f64) {
        let predict = |dirty| {
            let mut rounds = Rounds::new(bounds(), costs, 0);
            rounds.record(Sent { dirty, ..sent });
            rounds.prediction().total()
        };
        let fewer = (sent.dirty as f64 * less) as u64;
        prop_assert!(predict(fewer.min(sent.dirty)) <= predict(sent.dirty));
    }
}
