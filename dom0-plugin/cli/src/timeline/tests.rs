use super::lanes::marks;
use super::*;
use protocol::report::Role;
use serde_json::json;

/// A source's report as the daemon writes it.
fn source() -> Report {
    serde_json::from_value(json!({
        "id": 1, "role": "source", "domid": 5, "name": "web <&> \u{1b}", "uuid": null, "ok": true, "started": 1_796_081_400,
        "sessions": [], "gpu_bytes": {"precopy": [12_884_901_888u64, 900_000_000, 40_000_000], "stop": 20_000_000},
        "precopy": {
            "rounds": [
                {"start_s": 4.0, "took_s": 6.0, "bytes": 12_884_901_888u64, "dirty_bytes": 900_000_000},
                {"start_s": 10.5, "took_s": 0.5, "bytes": 900_000_000, "dirty_bytes": 40_000_000},
                {"start_s": 11.1, "took_s": 0.1, "bytes": 40_000_000, "dirty_bytes": 20_000_000}],
            "ended": "budget", "budget_s": 0.3,
            "predicted": {"copy_s": 0.02, "drain_s": 0.01, "unload_s": 0.1, "detach_s": 0.4, "paused_s": 0.05, "arrive_s": 0.3}},
        "predicted_blackout_s": 0.88, "compared_bytes": null, "compare_s": null, "vm_downtime_s": null,
        "stop_start_s": 11.3, "stop_s": 0.6,
        "drain_s": 0.01, "copy_s": 0.04, "seal_s": 0.005, "unload_s": 0.12, "close_s": 0.002, "detach_s": 0.38,
        "memory_s": 0.9, "suspend_s": 0.05, "transfer_s": 0.2,
        "ram": {"passes": [{"bytes": 4_294_967_296u64, "seconds": 4.0}, {"bytes": 90_000_000, "seconds": 0.2}],
                "scan": null, "bytes_after_detach": 1_000_000, "pass_starts_s": [0.0, 10.1], "detach_to_suspend_s": 1.0},
        "restore_s": null, "total_s": 13.2
    }))
    .unwrap()
}

fn destination() -> Report {
    serde_json::from_value(json!({
        "role": "destination", "domid": 6, "ok": true, "started": 1_796_081_400, "sessions": [],
        "gpu_bytes": {"precopy": [100], "stop": 5}, "precopy": null, "predicted_blackout_s": null,
        "compared_bytes": null, "compare_s": null, "vm_downtime_s": 0.2, "stop_s": null,
        "gpu_blackout_s": 1.9, "resume_s": 0.4, "connect_s": 0.01, "attach_s": 0.5, "reload_s": 0.2,
        "restore_s": 2.0, "total_s": 13.0
    }))
    .unwrap()
}

/// Elements open and close in order, and nothing but them has a bracket.
fn assert_well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').expect("a tag ends");
        assert!(!text.contains('>'), "{text}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
    }
    assert_eq!(open, [""; 0]);
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn everything_the_source_knows_is_drawn() {
    let svg = svg(&source());
    assert_well_formed(&svg);
    for part in [
        "web &lt;&amp;&gt; \u{fffd} (5), source",
        "RAM passes",
        "pass 2: 85.8 MiB in 200 ms",
        "round 0: 12.0 GiB in 6.00 s, 858.3 MiB dirty again",
        "GPU round 1: 858.3 MiB in 500 ms, 1716.6 MiB/s",
        "memory without the GPU: 900 ms",
        "the predicted blackout was within the budget",
        ">blackout, here<",
        ">predicted<",
        "arrival: 300 ms",
    ] {
        assert!(svg.contains(part), "{part} in\n{svg}");
    }
}

#[test]
fn everything_the_destination_knows_is_drawn() {
    let svg = svg(&destination());
    assert_well_formed(&svg);
    for part in [
        "records come",
        "contents come",
        "attaching PCI devices: 500 ms",
        "elsewhere and in between: 790 ms",
        ">blackout<",
    ] {
        assert!(svg.contains(part), "{part} in\n{svg}");
    }
    assert!(!svg.contains("Rate of each"), "it has no rounds");
}

#[test]
fn parts_follow_each_other_on_the_axis() {
    let spans = Spans::of(&source());
    let (name, waits) = spans.lanes.last().unwrap();
    assert_eq!(*name, "programs wait");
    assert_eq!(waits[0].start, 11.3);
    for pair in waits.windows(2) {
        assert_eq!(pair[0].end(), pair[1].start);
    }
    assert!((spans.end() - 13.007).abs() < 1e-9, "{}", spans.end());
}

#[test]
fn a_report_that_knows_nothing_is_a_heading() {
    for report in [
        Report::new(Role::Source, 1),
        Report::new(Role::Destination, 1),
    ] {
        let svg = svg(&report);
        assert_well_formed(&svg);
        assert!(svg.contains("domain 1"), "{svg}");
    }
}

#[test]
fn an_axis_has_few_round_marks() {
    assert_eq!(marks(13.2), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
    assert_eq!(
        marks(0.8),
        [
            0.0,
            0.1,
            0.2,
            0.30000000000000004,
            0.4,
            0.5,
            0.6000000000000001,
            0.7000000000000001,
            0.8
        ]
    );
    for end in [0.0, f64::NAN, f64::INFINITY] {
        assert_eq!(marks(end), [0.0]);
    }
    for end in [1e-6, 0.37, 9.99, 1e9] {
        assert!((2..=9).contains(&marks(end).len()), "{end}");
    }
}
