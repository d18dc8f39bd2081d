//! A real OpenCL program (pocl), the real shadow library, daemon and command line; no Xen.

use serde_json::Value;
use std::sync::OnceLock;
use xl_gpu_tests::built;
use xl_gpu_tests::host::{Host, Program, eventually};

/// `wave` checks every word of its buffers at the end.
fn wave(host: &Host, name: &str) -> Program {
    static COMPILED: OnceLock<()> = OnceLock::new();
    let folder = built::folder();
    COMPILED.get_or_init(|| drop(built::program("wave", folder)));
    host.run(
        &folder.join("wave"),
        name,
        &["--mib", "26", "--hot", "2", "--pause-ms", "5"],
    )
}

fn assert_ok(program: Program) {
    let output = program.finish();
    assert!(output.contains("PROGRAM OK"), "{output}");
}

#[test]
fn a_program_is_moved_again_and_again() {
    let mut host = Host::start();
    let program = wave(&host, "wave");
    program.await_output("step ");
    eventually("it is announced", || host.sessions("attached") == 1);
    for _ in 0..4 {
        let before = program.step();
        let report = host.xl_gpu(&["migrate-loopback", "--json"]).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["ok"], true, "{report}");
        assert_eq!(
            report["gpu_bytes"]["precopy"][0],
            26 << 20,
            "round 0 is everything"
        );
        let stop = report["gpu_bytes"]["stop"].as_u64().unwrap();
        assert!(
            stop < 26 << 20,
            "{stop} bytes in the stop: pre-copy has saved nothing"
        );
        assert!(report["gpu_blackout_s"].as_f64().unwrap() > 0.0);
        eventually("it goes on", || program.step() > before);
    }
    let kept = |host: &Host| {
        let history = host.xl_gpu(&["history", "loopback", "--json"]).unwrap();
        let history: Value = serde_json::from_str(&history).unwrap();
        history["migrations"].as_array().unwrap().clone()
    };
    let before = kept(&host);
    assert_eq!(before.len(), 4);
    assert!(before.iter().all(|m| m["outcome"] == "ok"), "{before:?}");
    let written = || {
        let lines = std::fs::read_to_string(host.folder().join("history.jsonl")).unwrap();
        let lines = lines.lines().map(serde_json::from_str);
        lines.collect::<Result<Vec<Value>, _>>().unwrap()
    };
    eventually("all of it is written", || written() == before);
    host.kill_daemon();
    host.start_daemon();
    assert_eq!(kept(&host), before, "a restart forgets nothing");
    let drawing = host.folder().join("report.svg");
    host.xl_gpu(&["report", "loopback", "--svg", drawing.to_str().unwrap()])
        .unwrap();
    let drawn = std::fs::read_to_string(drawing).unwrap();
    assert!(drawn.contains("GPU round 0"), "{drawn}");
    assert_ok(program);
}

#[test]
fn detached_by_hand_it_waits_and_loses_nothing_to_a_killed_daemon() {
    let mut host = Host::start();
    let program = wave(&host, "wave");
    program.await_output("step ");
    eventually("it is announced", || host.sessions("attached") == 1);
    host.xl_gpu(&["request", "checkpoint"]).unwrap();
    host.xl_gpu(&["request", "detach"]).unwrap();
    assert_eq!(host.sessions("detached"), 1);
    let stopped_at = program.step();
    host.kill_daemon();
    host.start_daemon();
    eventually("it is announced again", || host.sessions("detached") == 1);
    assert_eq!(program.step(), stopped_at, "its calls wait");
    host.xl_gpu(&["request", "attach"]).unwrap();
    eventually("it goes on", || program.step() > stopped_at);
    assert_ok(program);
}

#[test]
fn two_programs_move_together_and_one_may_die() {
    let host = Host::start();
    let programs = ["first", "second"].map(|name| wave(&host, name));
    for program in &programs {
        program.await_output("step ");
    }
    eventually("both are announced", || host.sessions("attached") == 2);
    let report = host.xl_gpu(&["migrate-loopback", "--json"]).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["sessions"].as_array().unwrap().len(), 2);
    let [first, second] = programs;
    second.kill();
    eventually("one is left", || host.sessions("attached") == 1);
    host.xl_gpu(&["migrate-loopback"]).unwrap();
    assert_ok(first);
}

#[test]
fn the_command_line_says_what_to_do() {
    let mut host = Host::start();
    assert_eq!(host.xl_gpu(&["status"]).unwrap(), "no GPU sessions\n");
    let error = host.xl_gpu(&["request", "detach", "web"]).unwrap_err();
    assert!(error.contains("no domain `web`"), "{error}");
    host.kill_daemon();
    let error = host.xl_gpu(&["status"]).unwrap_err();
    assert!(error.contains("is it running?"), "{error}");
}
