//! A program that is killed in any phase of a move leaves nothing behind, and harms no other on the device.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::rig::{Front, Moves, Scratch};
use crate::{log, native};

/// Calls in which a move is held up, one for each phase: comparing, coming to rest, memory out, checkpoint, restore, memory in, contents.
const PHASES: [&str; 8] = [
    "cuLaunchKernel",
    "cuCtxSynchronize",
    "cuMemUnmap",
    "cuMemAddressReserve",
    "cuCheckpointProcessLock",
    "cuCheckpointProcessCheckpoint",
    "cuCheckpointProcessRestore",
    "cuMemSetAccess",
];

fn start(
    scratch: &Scratch,
    shadow: &native::Folder,
    arguments: &[&str],
    rate: &str,
    options: &str,
) -> Child {
    let mut command = scratch.command(Front::Shadow(shadow), options);
    command
        .args(arguments)
        .env("XL_GPU_STORM", rate)
        .env("XL_GPU_STORM_REPORT", scratch.path().join("report"))
        .env("TMPDIR", scratch.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// The process itself, below timeout(1).
fn child_of(parent: u32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

#[test]
fn killed_in_every_phase() {
    let (victim, other) = (Scratch::new("memory"), Scratch::new("two"));
    let shadow = native::stress_folder();
    let files = |scratch: &Scratch| {
        let mut names: Vec<_> = fs::read_dir(scratch.path())
            .unwrap()
            .map(|file| file.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let report = other.path().join("report");
    for phase in PHASES {
        let log = victim.path().join("log");
        fs::write(&log, "").unwrap();
        let before = files(&victim);
        let _ = fs::remove_file(&report);
        let beside = start(&other, &shadow, &["10"], "calls=13", "");
        let options = format!("log={},slow={phase}:300ms", log.display());
        let arguments = ["100000", "1500000"];
        let mut dying = start(&victim, &shadow, &arguments, "ms=1", &options);
        let end = Instant::now() + Duration::from_secs(240);
        let begins = format!("slow:{phase}");
        let is_there = |line: &log::Line| line.is_movers && line.function == begins;
        while !log::read(&log).iter().any(is_there) {
            assert!(Instant::now() < end, "{phase}: no move came there");
            std::thread::sleep(Duration::from_millis(5));
        }
        let process = child_of(dying.id()).expect("it runs");
        // SAFETY: kill(2) takes numbers.
        assert_eq!(unsafe { libc::kill(process, libc::SIGKILL) }, 0);
        dying.wait().unwrap();
        assert!(
            !std::path::Path::new(&format!("/proc/{process}")).exists(),
            "{phase}"
        );
        assert_eq!(files(&victim), before, "{phase}: what it left");
        let ended = beside.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{phase}: the other: {errors}");
        let moves = Moves::read(&report);
        assert!(moves.moves > 0 && moves.failed == 0, "{phase}: {moves:?}");
    }
}
