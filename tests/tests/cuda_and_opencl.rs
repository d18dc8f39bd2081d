//! Programs of both APIs beside each other, and in one process, over the stub drivers; no Xen.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;
use xl_gpu_tests::built;
use xl_gpu_tests::host::{Host, Program, STUB_ICD, eventually};

/// Every string is two pieces of 1.5 MiB at least: CUDA's smaller ones do not move by our copies.
const WAVE: [&str; 6] = ["--mib", "15", "--hot", "3", "--pause-ms", "5"];

/// Of the stub: no room for comparing on the device, which an interpreter takes long for. All is sent whole.
const SMALL_DEVICE: &str = "memory=64M";

/// A compiled program, which is compiled once.
fn compiled(build: fn(&str, &Path) -> PathBuf, name: &'static str) -> PathBuf {
    static COMPILED: Mutex<Vec<(usize, &str, PathBuf)>> = Mutex::new(Vec::new());
    let mut compiled = COMPILED.lock().unwrap();
    let known = compiled
        .iter()
        .find(|known| (known.0, known.1) == (build as usize, name));
    if let Some((_, _, path)) = known {
        return path.clone();
    }
    let path = build(name, built::folder());
    compiled.push((build as usize, name, path.clone()));
    path
}

fn cuda(host: &Host, name: &str) -> Program {
    host.run_cuda(
        &compiled(built::cuda_program, "wave"),
        name,
        &WAVE,
        SMALL_DEVICE,
    )
}

fn opencl(host: &Host, name: &str) -> Program {
    host.run_opencl(&compiled(built::program, "wave"), name, &WAVE)
}

fn assert_ok(program: Program) {
    let output = program.finish();
    assert!(output.contains("PROGRAM OK"), "{output}");
}

/// A move, after which all go on; its report.
fn moved(host: &Host, programs: &[Program]) -> Value {
    let before: Vec<u64> = programs.iter().map(Program::step).collect();
    let report = host.xl_gpu(&["migrate-loopback", "--json"]).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["ok"], true, "{report}");
    for (program, before) in programs.iter().zip(before) {
        eventually("it goes on", || program.step() > before);
    }
    report
}

/// Sessions of the report, and octets of its first round: everything.
fn assert_moved(report: &Value, sessions: usize, octets: u64) {
    assert_eq!(report["sessions"].as_array().unwrap().len(), sessions);
    assert_eq!(report["gpu_bytes"]["precopy"][0], octets, "{report}");
}

fn begin(host: &Host, programs: &[Program]) {
    for program in programs {
        program.await_output("step ");
    }
    let all = programs.len();
    eventually("all are announced", || host.sessions("attached") == all);
}

/// OpenCL's drivers would be loaded on the way back, while the program waits, and keep what they open.
#[test]
fn cuda_alone_loads_no_driver_of_opencl() {
    let host = Host::start();
    let programs = [cuda(&host, "cuda")];
    begin(&host, &programs);
    moved(&host, &programs);
    assert!(!programs[0].maps(STUB_ICD));
    programs.into_iter().for_each(assert_ok);
}

#[test]
fn two_programs_of_cuda() {
    let host = Host::start();
    let programs = ["first", "second"].map(|name| cuda(&host, name));
    begin(&host, &programs);
    for _ in 0..2 {
        assert_moved(&moved(&host, &programs), 2, 30 << 20);
    }
    programs.into_iter().for_each(assert_ok);
}

#[test]
fn one_program_of_each() {
    let host = Host::start();
    let programs = [cuda(&host, "cuda"), opencl(&host, "opencl")];
    begin(&host, &programs);
    for _ in 0..2 {
        assert_moved(&moved(&host, &programs), 2, 30 << 20);
    }
    programs.into_iter().for_each(assert_ok);
}

/// One session, whose objects are of both.
#[test]
fn both_in_one_process() {
    let host = Host::start();
    let binary = compiled(built::cuda_program, "both");
    let programs = [host.run_cuda(&binary, "both", &WAVE, SMALL_DEVICE)];
    begin(&host, &programs);
    for _ in 0..2 {
        assert_moved(&moved(&host, &programs), 1, 30 << 20);
        assert!(programs[0].maps(STUB_ICD));
    }
    programs.into_iter().for_each(assert_ok);
}

/// Away by hand, neither has a device open; where CUDA's driver does not come back, OpenCL waits with it.
#[test]
fn both_wait_for_the_device() {
    let host = Host::start();
    let binary = compiled(built::cuda_program, "both");
    let program = host.run_cuda(&binary, "both", &WAVE, "memory=64M,restore_fails=1");
    begin(&host, std::slice::from_ref(&program));
    host.xl_gpu(&["request", "checkpoint"]).unwrap();
    host.xl_gpu(&["request", "detach"]).unwrap();
    assert_eq!(host.sessions("detached"), 1);
    assert_eq!(program.device_files(&host.nodes()), 0);
    let stopped_at = program.step();
    let error = host.xl_gpu(&["request", "attach"]).unwrap_err();
    assert_eq!(program.step(), stopped_at, "its calls wait: {error}");
    host.xl_gpu(&["request", "attach"]).unwrap();
    eventually("it goes on", || program.step() > stopped_at);
    assert_ok(program);
}
