//! CUDA programs over the stub driver, with the real shadow library, daemon and command line; no Xen.

use std::fs;
use std::sync::OnceLock;

use serde_json::Value;
use xl_gpu_tests::built;
use xl_gpu_tests::host::{Host, Program, eventually};

fn start(host: &Host, source: &str, arguments: &[&str], options: &str) -> Program {
    static COMPILED: OnceLock<()> = OnceLock::new();
    let folder = built::folder();
    COMPILED.get_or_init(|| {
        for name in ["wave", "managed"] {
            built::cuda_program(name, folder);
        }
    });
    let binary = folder.join(format!("cuda-{source}"));
    let program = host.run_cuda(&binary, source, arguments, options);
    eventually("it is announced", || host.sessions("attached") == 1);
    program
}

fn wave(host: &Host, options: &str) -> Program {
    let arguments = ["--mib", "20", "--hot", "4", "--pause-ms", "5"];
    let program = start(host, "wave", &arguments, options);
    program.await_output("step ");
    program
}

fn assert_ok(program: Program) {
    let output = program.finish();
    assert!(output.contains("PROGRAM OK"), "{output}");
}

fn goes_on(program: &Program) {
    let before = program.step();
    eventually("it goes on", || program.step() > before);
}

#[test]
fn a_program_is_moved_again_and_again() {
    let host = Host::start();
    let program = wave(&host, "");
    for _ in 0..3 {
        let report = host.xl_gpu(&["migrate-loopback", "--json"]).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["ok"], true, "{report}");
        assert_eq!(
            report["gpu_bytes"]["precopy"][0],
            20 << 20,
            "round 0 is everything: {report}"
        );
        let stop = report["gpu_bytes"]["stop"].as_u64().unwrap();
        assert!(
            stop < 20 << 20,
            "{stop} bytes in the stop: pre-copy has saved nothing"
        );
        goes_on(&program);
    }
    assert_ok(program);
}

/// Detached, it has nothing of the device open, and waits until the device is there again.
#[test]
fn detached_by_hand_without_the_device() {
    let host = Host::start();
    let program = wave(&host, "");
    host.xl_gpu(&["request", "checkpoint"]).unwrap();
    host.xl_gpu(&["request", "detach"]).unwrap();
    assert_eq!(host.sessions("detached"), 1);
    assert_eq!(program.device_files(&host.nodes()), 0);
    let stopped_at = program.step();
    let (node, away) = (host.nodes().join("nvidia0"), host.folder().join("away"));
    fs::rename(&node, &away).unwrap();
    let error = host.xl_gpu(&["request", "attach"]).unwrap_err();
    assert_eq!(program.step(), stopped_at, "its calls wait: {error}");
    fs::rename(&away, &node).unwrap();
    host.xl_gpu(&["request", "attach"]).unwrap();
    eventually("it goes on", || program.step() > stopped_at);
    assert!(program.device_files(&host.nodes()) > 0);
    assert_ok(program);
}

/// A rehearsal takes no device away, so it goes through; which file the driver keeps open, the program's log says.
#[test]
fn a_driver_that_keeps_its_device_open() {
    let host = Host::start();
    let program = wave(&host, "leak_fds=1");
    host.xl_gpu(&["migrate-loopback"]).unwrap();
    let held = format!("still held: {}", host.nodes().display());
    assert!(program.output().contains(&held), "{}", program.output());
    goes_on(&program);
    assert_ok(program);
}

/// Refused with the reason while there is any, before anything is stopped.
#[test]
fn managed_memory_comes_and_goes() {
    let host = Host::start();
    let part = host.folder().join("part-").display().to_string();
    let let_go = |number: u32| fs::write(format!("{part}{number}"), "").unwrap();
    let program = start(&host, "managed", &[&part], "");
    host.xl_gpu(&["migrate-loopback"]).unwrap();
    let_go(1);
    program.await_output("before: ");
    eventually("it is refused", || {
        let error = host.xl_gpu(&["migrate-loopback"]);
        error.is_err_and(|error| error.contains("managed"))
    });
    let_go(2);
    program.await_output("managed: ");
    eventually("it can be moved again", || {
        host.xl_gpu(&["migrate-loopback"]).is_ok()
    });
    let_go(3);
    program.await_output("after: ");
}
