//! CUDA's driver is known to be used through ours, or past ours, by who has initialised it.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use libloading::os::unix::{Library, RTLD_NOW};
use xl_gpu_runtime::vendor::{cuda, foreign, fronts};

const CHILD: &str = "XL_GPU_PAST_FRONT";

/// A library of NVIDIA's name that has to be initialised, and says how often it was asked.
fn build(folder: &Path) -> PathBuf {
    let (code, library) = (folder.join("cuda.c"), folder.join("libcuda.so.1"));
    let source = "static int is_on; int asked;
        int cuInit(unsigned flags) { is_on = 1; return 0; }
        int cuDeviceGetCount(int *count) { asked++; *count = 1; return is_on ? 0 : 3; }";
    std::fs::write(&code, source).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &code])
        .status();
    assert!(compiled.unwrap().success());
    library
}

/// Runs `body` in a process of its own, with the library.
fn in_child(test: &str, body: impl FnOnce(&Path)) {
    if std::env::var(CHILD).as_deref() == Ok(test) {
        let library = std::env::var("XL_GPU_REAL_LIBCUDA").unwrap();
        fronts::register(c"libcuda.so.1", build as *const c_void).unwrap();
        return body(Path::new(&library));
    }
    let folder = format!("xl-gpu-past-front-{}-{test}", std::process::id());
    let folder = std::env::temp_dir().join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env(CHILD, test)
        .env("XL_GPU_REAL_LIBCUDA", build(&folder))
        .env("XL_GPU_DEVICE_NODES", folder.join("node"))
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

fn open(file: &Path) -> Library {
    // SAFETY: the library has no initialisers.
    unsafe { Library::open(Some(file), RTLD_NOW) }.unwrap()
}

fn initialise(library: &Library) {
    // SAFETY: the function's type.
    unsafe {
        library
            .get::<unsafe extern "C" fn(u32) -> c_int>(b"cuInit\0")
            .unwrap()(0)
    };
}

fn asked(library: &Library) -> c_int {
    // SAFETY: the variable's type.
    unsafe { **library.get::<*const c_int>(b"asked\0").unwrap() }
}

#[test]
fn what_comes_through_ours_is_no_other_means() {
    in_child("what_comes_through_ours_is_no_other_means", |file| {
        assert!(!cuda::is_through_front());
        cuda::front_opens();
        let real = open(file);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    cuda::front_initialises();
                    initialise(&real);
                });
            }
        });
        assert!(cuda::is_through_front());
        let before = asked(&real);
        assert_eq!(foreign::reason(), None);
        // Another one of the name is none of ours.
        let copy = file.with_file_name("libcuda.so.999");
        std::fs::copy(file, &copy).unwrap();
        let other = open(&copy);
        foreign::look_again();
        let reason = foreign::reason().unwrap();
        assert!(reason.contains(copy.to_str().unwrap()), "{reason}");
        drop(other);
        foreign::look_again();
        assert_eq!(foreign::reason(), None);
        // It may be locked for a move, and would not answer.
        assert_eq!(asked(&real), before);
    });
}

/// Paths of a process's descriptors.
fn files(pid: i32) -> Vec<(i32, PathBuf)> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let file = |entry: std::fs::DirEntry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, std::fs::read_link(entry.path()).ok()?))
    };
    entries.flatten().filter_map(file).collect()
}

/// A child that waits for its end. It has been forked when this returns.
fn forked() -> i32 {
    // SAFETY: the child does nothing but wait.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: waits for a signal.
        unsafe { libc::pause() };
    }
    // Its handlers have run when it sleeps.
    for _ in 0..1000 {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        if stat.contains(") S ") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child
}

fn end(child: i32) {
    // SAFETY: a child of ours that nobody else waits for.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
}

#[test]
fn a_child_does_not_keep_the_gpu() {
    in_child("a_child_does_not_keep_the_gpu", |file| {
        let node = PathBuf::from(std::env::var("XL_GPU_DEVICE_NODES").unwrap());
        std::fs::write(&node, [0; 4096]).unwrap();
        let device = File::open(&node).unwrap();
        let own = (device.as_raw_fd(), node.clone());
        drop(xl_gpu_runtime::start::enter(
            xl_gpu_runtime::gate::Pass::Normal,
        ));
        // Before CUDA is used it may be anybody's.
        let child = forked();
        assert!(files(child).contains(&own));
        end(child);
        let real = open(file);
        cuda::front_initialises();
        initialise(&real);
        let child = forked();
        let has = files(child);
        assert!(!has.iter().any(|(_, path)| *path == node), "{has:?}");
        assert!(has.contains(&(own.0, "/dev/null".into())), "{has:?}");
        assert_eq!(foreign::other_processes().holders, [""; 0]);
        end(child);
        // What it maps it may read; it is named.
        // SAFETY: a mapping of a file's one page, never touched.
        let page = unsafe {
            let (null, shared) = (std::ptr::null_mut(), libc::MAP_SHARED);
            libc::mmap(null, 4096, libc::PROT_READ, shared, own.0, 0)
        };
        assert_ne!(page, libc::MAP_FAILED);
        let child = forked();
        let holders = foreign::other_processes().holders;
        assert!(holders[0].contains(&format!("pid {child}")), "{holders:?}");
        end(child);
    });
}

#[test]
fn what_was_there_before_ours_is_named() {
    in_child("what_was_there_before_ours_is_named", |file| {
        let past = open(file);
        // Opened alone it is not used.
        assert_eq!(foreign::reason(), None);
        initialise(&past);
        cuda::front_opens();
        cuda::front_initialises();
        let reason = foreign::reason().unwrap();
        for part in [
            "by other means",
            file.to_str().unwrap(),
            "initialised by the program itself",
        ] {
            assert!(reason.contains(part), "{reason}");
        }
    });
}
