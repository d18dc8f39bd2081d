//! Devices that go and come back, or are others, and drivers that keep them open.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::{Case, log};

/// Does something again and again beside a test.
fn beside<R>(mut every: impl FnMut(&AtomicBool) + Send, work: impl FnOnce() -> R) -> R {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                every(&over);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|why| std::panic::resume_unwind(why))
    })
}

/// How many restores there were so far, and how many of them failed.
fn restores(log: &Path) -> (usize, usize) {
    let lines = log::read(log).into_iter();
    let all = lines.filter(|line| line.function == "cuCheckpointProcessRestore");
    all.fold((0, 0), |(all, failed), line| {
        (all + 1, failed + usize::from(line.answer != 0))
    })
}

/// As its PCI device is while a guest is moved. A restore waits for it.
#[test]
fn a_device_that_is_away_for_a_while() {
    const TIMES: usize = 3;
    let case = Case::with_memory();
    let node = case.scratch.nodes().join("nvidia0");
    let away = case.scratch.path().join("away");
    let log = case.log();
    let mut times = 0;
    let done = beside(
        |over| {
            // The program begins with the device, and moves once more after each time.
            let (all, failed) = restores(&log);
            if times == TIMES || all == failed {
                return;
            }
            fs::rename(&node, &away).unwrap();
            while restores(&log).1 == failed && !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            fs::rename(&away, &node).unwrap();
            times += 1;
        },
        || case.moved("calls=15", ""),
    );
    let moves = done.moves;
    assert!(moves.moves > 0 && moves.failed > 0, "{}", done.said());
    let missing = done.answers("cuCheckpointProcessRestore", 100);
    assert_eq!(missing as u64, moves.failed, "{}", done.said());
}

const UUIDS: [&str; 2] = [
    "11112222333344445555666677778888",
    "a1b2c3d4e5f60718293a4b5c6d7e8f90",
];

/// What the kernel's driver and the stub say about the one GPU.
fn name_gpu(folder: &Path, uuid: &str) {
    let of_kernel = folder.join("proc/gpus/0000:01:00.0");
    fs::create_dir_all(&of_kernel).unwrap();
    let write = |path: &Path, text: String| {
        let part = path.with_extension("part");
        fs::write(&part, text).unwrap();
        fs::rename(part, path).unwrap();
    };
    let dashed = [
        &uuid[..8],
        &uuid[8..12],
        &uuid[12..16],
        &uuid[16..20],
        &uuid[20..],
    ]
    .join("-");
    write(&folder.join("uuids"), format!("{uuid}\n"));
    write(
        &of_kernel.join("information"),
        format!("Model: \t xl-gpu stub CUDA GPU\nGPU UUID: \t GPU-{dashed}\nDevice Minor: \t 0\n"),
    );
}

/// Each restore may find another GPU of the same kind.
#[test]
fn another_gpu_after_the_move() {
    let mut case = Case::with_memory();
    let folder = case.scratch.path().to_owned();
    name_gpu(&folder, UUIDS[0]);
    let proc = folder.join("proc").display().to_string();
    case.user.variables = vec![("XL_GPU_NVIDIA_PROC", proc)];
    let log = case.log();
    let (mut turn, mut seen) = (0, 0);
    let done = beside(
        |_| {
            let (all, failed) = restores(&log);
            if all - failed > seen {
                seen = all - failed;
                turn += 1;
                name_gpu(&folder, UUIDS[turn % 2]);
            }
        },
        || {
            let uuids = folder.join("uuids");
            case.moved("calls=15", &format!("uuids={}", uuids.display()))
        },
    );
    assert!(done.moves.moves > 2 && turn > 1, "{turn}: {}", done.said());
}

/// What the driver keeps open is named, and the move undone.
#[test]
fn a_device_that_stays_open() {
    for leak in ["leak_fds=1", "leak_maps=1"] {
        let case = Case::with_memory();
        let done = case.moved("calls=20", leak);
        let (moves, said) = (done.moves, done.said());
        assert!(moves.moves == 0 && moves.failed > 0, "{leak}: {said}");
        let node = format!("still held: {}", case.scratch.nodes().display());
        assert!(said.contains(&node), "{leak}: {said}");
    }
}
