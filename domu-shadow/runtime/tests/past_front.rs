//! CUDA's driver is known to be used through ours, or past ours, by who has initialised it.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use libloading::os::unix::{Library, RTLD_NOW};
use xl_gpu_runtime::phase_timer::PhaseTimer;
use xl_gpu_runtime::vendor::snapshot::Snapshot;
use xl_gpu_runtime::vendor::{cuda, foreign, fronts, loaded, unload};

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
    in_child_of(test, true, body);
}

/// The same; this program is in front of it, or nothing yet.
fn in_child_of(test: &str, is_front: bool, body: impl FnOnce(&Path)) {
    if std::env::var(CHILD).as_deref() == Ok(test) {
        let library = std::env::var("XL_GPU_REAL_LIBCUDA").unwrap();
        if is_front {
            fronts::register(c"libcuda.so.1", build as *const c_void).unwrap();
        }
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
        cuda::front_opens();
        cuda::front_initialises();
        assert!(!cuda::is_through_front(), "it has not succeeded");
        let real = open(file);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    cuda::front_initialises();
                    initialise(&real);
                    cuda::front_initialised();
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

/// Compiles a library of this file name beside the driver's.
fn compile(file: &Path, source: &str, options: &[&str]) -> PathBuf {
    let code = file.with_extension("c");
    std::fs::write(&code, source).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).args([file, &code]);
    assert!(cc.args(options).status().unwrap().success());
    file.to_owned()
}

/// What a library's function answers.
fn answer(library: &Library, name: &[u8]) -> c_int {
    // SAFETY: the function's type.
    unsafe {
        library
            .get::<unsafe extern "C" fn() -> c_int>(name)
            .unwrap()()
    }
}

#[test]
fn a_driver_that_is_linked_to_the_library_calls_the_vendors() {
    let test = "a_driver_that_is_linked_to_the_library_calls_the_vendors";
    in_child_with_front(test, |file, front| {
        let folder = file.parent().unwrap();
        let source = "int cuVersion(void); int asks(void) { return cuVersion(); }";
        let asks = |name: &str| compile(&folder.join(name), source, &[]);
        // Lazily bound, and by the driver itself, what it brings.
        let (driver, device) = (asks("libvendor.so.2"), asks("libvendor-devices-cuda.so"));
        let program = open(&asks("libprogram.so"));
        loaded::load(
            [driver.into_os_string()],
            |_| Ok::<(), std::io::Error>(()),
            |vendors| {
                let device = open(&device);
                assert_eq!(answer(&vendors[0].library, b"asks\0"), 2, "its own");
                std::mem::forget(device);
            },
        );
        assert_eq!(answer(&open(&device), b"asks\0"), 2, "what it brought");
        // The program's are ours.
        assert_eq!(answer(&program, b"asks\0"), 1);
        assert_eq!(answer(front, b"cuVersion\0"), 1);
        let maps = |path: &Path| {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            maps.contains(path.to_str().unwrap())
        };
        assert!(maps(file));
        unload::unload(&mut PhaseTimer::new("test"), |_| Vec::new());
        assert!(!maps(file), "it stays open without them");
    });
}

/// As [`in_child`], with a library in front whose functions are found first.
fn in_child_with_front(test: &str, body: impl FnOnce(&Path, &Library)) {
    in_child_of(test, false, |file| {
        let front = file.with_file_name("libfront.so");
        let front = compile(&front, "int cuVersion(void) { return 1; }", &[]);
        compile(
            file,
            "int cuVersion(void) { return 2; }
            int cuDeviceGetCount(int *count) { return 3; }",
            &["-Wl,-soname,libcuda.so.1"],
        );
        // SAFETY: a library without initialisers, and the address of a function of it.
        let (front, address) = unsafe {
            let front = Library::open(Some(&front), RTLD_NOW | libc::RTLD_GLOBAL).unwrap();
            let address = *front.get::<*const c_void>(b"cuVersion\0").unwrap();
            (front, address)
        };
        fronts::register(c"libcuda.so.1", address).unwrap();
        body(file, &front);
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
        cuda::front_initialised();
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
fn what_leads_to_ours_is_no_library_of_the_driver_s() {
    let test = "what_leads_to_ours_is_no_library_of_the_driver_s";
    in_child(test, |file| {
        let map = |path: &Path| {
            let file = File::open(path).unwrap();
            // SAFETY: a mapping of a file's first page, never touched.
            let page = unsafe {
                let (null, private) = (std::ptr::null_mut(), libc::MAP_PRIVATE);
                libc::mmap(null, 4096, libc::PROT_READ, private, file.as_raw_fd(), 0)
            };
            assert_ne!(page, libc::MAP_FAILED);
        };
        // A file of that name with our note, which this program has.
        let small = file.parent().unwrap().join("small");
        std::fs::create_dir(&small).unwrap();
        let small = small.join("libcuda.so.1");
        std::fs::copy(std::env::current_exe().unwrap(), &small).unwrap();
        map(&small);
        assert!(!Snapshot::take().maps_library("libcuda.so"));
        map(file);
        assert!(Snapshot::take().maps_library("libcuda.so"));
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
