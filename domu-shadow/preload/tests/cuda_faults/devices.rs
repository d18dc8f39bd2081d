//! Devices that go and come back, or are others, and drivers that keep them open.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Case;
use crate::rig::User;

/// Does something again and again beside a test.
fn beside<R>(mut every: impl FnMut() + Send, work: impl FnOnce() -> R) -> R {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                every();
            }
        });
        let result = work();
        over.store(true, Ordering::Relaxed);
        result
    })
}

/// As its PCI device is while a guest is moved. A restore waits for it.
#[test]
fn a_device_that_is_away_for_a_while() {
    let case = Case::new(User {
        arguments: &["100"],
        ..User::new("memory")
    });
    let node = case.scratch.nodes().join("nvidia0");
    let away = case.scratch.path().join("away");
    let (moves, errors) = beside(
        || {
            fs::rename(&node, &away).unwrap();
            std::thread::sleep(Duration::from_millis(70));
            fs::rename(&away, &node).unwrap();
            std::thread::sleep(Duration::from_millis(200));
        },
        || {
            // It begins with the device.
            while !node.exists() {
                std::thread::yield_now();
            }
            case.moved("calls=10", "")
        },
    );
    assert!(moves.moves > 0, "{moves:?}: {errors}");
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
    let mut case = Case::new(User {
        arguments: &["100"],
        ..User::new("memory")
    });
    let folder = case.scratch.path().to_owned();
    name_gpu(&folder, UUIDS[0]);
    let proc = folder.join("proc").display().to_string();
    case.user.variables = vec![("XL_GPU_NVIDIA_PROC", proc)];
    let mut turn = 0;
    let (moves, errors) = beside(
        || {
            turn += 1;
            name_gpu(&folder, UUIDS[turn % 2]);
            std::thread::sleep(Duration::from_millis(30));
        },
        || {
            case.moved(
                "calls=10",
                &format!("uuids={}", folder.join("uuids").display()),
            )
        },
    );
    assert!(moves.moves > 2, "{moves:?}: {errors}");
}

/// What the driver keeps open is named, and the move undone.
#[test]
fn a_device_that_stays_open() {
    for leak in ["leak_fds=1", "leak_maps=1"] {
        let mut case = Case::new(User {
            arguments: &["40"],
            ..User::new("memory")
        });
        case.user.variables = vec![("XL_GPU_LOG", "info".to_owned())];
        let (moves, errors) = case.moved("calls=20", leak);
        let node = case.scratch.nodes().display().to_string();
        assert!(errors.contains(&node), "{leak}: {moves:?}: {errors}");
    }
}
