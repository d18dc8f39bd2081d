//! A process of its own with the stub driver, and a program in it whose result is known.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{CString, c_char};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::ptr::null;
use std::time::Duration;

use libloading::os::unix::Library;
use runtime::mover::{self, Capture, Detached, OwnedBytes};

use crate::common::*;

const PATIENCE: Duration = Duration::from_secs(60);
const WORDS: usize = 4096;
const SOURCE: &str = "__kernel void increase(__global uint *a, const uint by) {}";

fn library() -> PathBuf {
    let test = env::current_exe().unwrap();
    let path = test.parent().unwrap().join("libxl_gpu_stub_icd.so");
    assert!(path.exists(), "{} is not built", path.display());
    path
}

/// Stands in for a device node.
pub fn node() -> String {
    env::var("XL_GPU_DEVICE_NODES").unwrap()
}

/// Runs `body` in a process of its own; then the stub's report must not hold a complaint. `test` is the caller's name.
pub fn in_child(test: &str, options: &str, body: impl FnOnce()) {
    in_child_as(test, None, options, body);
}

/// The same with the stub's library under another file name.
pub fn in_child_as(test: &str, driver: Option<&str>, options: &str, body: impl FnOnce()) {
    if env::var("XL_GPU_STORM_TEST").as_deref() == Ok(test) {
        body();
        // Released queues may still be at work, and a driver must not be left in the middle of it.
        drop(begin().quiesce(PATIENCE));
        return;
    }
    let folder = format!("xl-gpu-storm-test-{}-{test}", std::process::id());
    let scratch = env::temp_dir().join(folder);
    fs::create_dir_all(&scratch).unwrap();
    let (node, report) = (scratch.join("node"), scratch.join("report"));
    fs::write(&node, [0; 4096]).unwrap();
    let vendor = driver.map_or_else(library, |name| {
        let copy = scratch.join(name);
        fs::copy(library(), &copy).unwrap();
        copy
    });
    let fixed = format!(
        "device={},report={},loads={}",
        node.display(),
        report.display(),
        scratch.join("loads").display()
    );
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("XL_GPU_STORM_TEST", test)
        .env("XL_GPU_STUB", format!("{fixed},{options}"))
        .env("XL_GPU_STUB_FIXED", format!("{fixed},nvidia"))
        .env("XL_GPU_DEVICE_NODES", &node)
        .env("OCL_ICD_VENDORS", &vendor)
        .env_remove("OCL_ICD_FILENAMES")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let report = fs::read_to_string(&report).unwrap_or_default();
    fs::remove_dir_all(&scratch).unwrap();
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    assert!(
        report.contains("\tload\t"),
        "the stub was never loaded: {report}"
    );
    assert!(!report.contains("\tviolation\t"), "{report}");
}

/// The loaded stub driver.
pub struct Stub;

impl Stub {
    /// Options of the next load.
    pub fn next_load(options: &str) {
        let fixed = env::var("XL_GPU_STUB_FIXED").unwrap();
        // SAFETY: the process has one test thread; no other reads the environment now.
        unsafe { env::set_var("XL_GPU_STUB", format!("{fixed},{options}")) };
    }

    /// How often an entry point was called since the driver was loaded.
    pub fn calls() -> impl Fn(&str) -> u64 {
        type State = unsafe extern "C" fn(*mut c_char, usize) -> usize;
        let mut text = vec![0_u8; 1 << 16];
        // SAFETY: the library is loaded already, and the symbol has this prototype; it writes at most the size given.
        let size = unsafe {
            let library = Library::new(env::var_os("OCL_ICD_VENDORS").unwrap()).unwrap();
            let state = library.get::<State>(b"xl_gpu_stub_state\0").unwrap();
            state(text.as_mut_ptr().cast(), text.len())
        };
        text.truncate(size);
        let text = String::from_utf8(text).unwrap();
        move |name| {
            let line = text.lines().find_map(|line| {
                line.strip_prefix("calls ")?
                    .strip_prefix(name)?
                    .strip_prefix(' ')
            });
            line.map_or(0, |number| number.parse().unwrap())
        }
    }
}

/// What this process holds.
#[derive(Debug)]
pub struct Held {
    pub files: usize,
    pub mappings: usize,
    pub threads: usize,
    /// Bytes of the heap in use.
    pub heap: usize,
}

impl Held {
    pub fn now() -> Held {
        Held {
            files: fs::read_dir("/proc/self/fd").unwrap().count(),
            mappings: fs::read_to_string("/proc/self/maps")
                .unwrap()
                .lines()
                .count(),
            threads: threads(),
            heap: {
                // SAFETY: mallinfo2(3) takes nothing and changes nothing.
                let info = unsafe { libc::mallinfo2() };
                info.uordblks + info.hblkhd
            },
        }
    }
}

/// Threads that run. One that has been joined may still be listed for a moment.
fn threads() -> usize {
    /// `include/linux/sched.h`; the flags are field 9 of proc_pid_stat(5).
    const PF_EXITING: u64 = 4;
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let runs = |stat: &String| {
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let flags = fields.split(' ').nth(9 - 3).unwrap();
        flags.parse::<u64>().unwrap() & PF_EXITING == 0
    };
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok())
        .filter(runs)
        .count()
}

/// Open descriptors of the device node.
pub fn device_files() -> usize {
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter(|file| {
            let path = fs::read_link(file.as_ref().unwrap().path());
            path.is_ok_and(|path| path.as_os_str() == node().as_str())
        })
        .count()
}

/// No descriptor and no mapping of the device node, and no driver.
pub fn assert_device_is_free() {
    assert_eq!(device_files(), 0);
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let held = |line: &&str| line.contains(&node()) || line.contains("libxl_gpu_stub_icd.so");
    assert_eq!(maps.lines().find(held), None);
}

pub fn begin() -> Capture {
    mover::begin().unwrap()
}

/// Contents by object.
pub type Store = BTreeMap<u64, Vec<u8>>;

/// A program that counts on the device.
pub struct Counter {
    gpu: Gpu,
    buffer: Handle,
    half: Handle,
    kernel: Handle,
    expected: u32,
}

impl Counter {
    pub fn new() -> Counter {
        let gpu = Gpu::new();
        let buffer = gpu.buffer(CL_MEM_READ_WRITE, WORDS * 4);
        gpu.write(buffer, 0, &[0_u32; WORDS]);
        let region = cl_buffer_region {
            origin: WORDS * 2,
            size: WORDS * 2,
        };
        let info = (&raw const region).cast();
        let half = make!(clCreateSubBuffer(
            buffer,
            0,
            CL_BUFFER_CREATE_TYPE_REGION,
            info
        ));
        let program = gpu.program(SOURCE);
        let options = CString::new("-cl-kernel-arg-info").unwrap();
        let none = std::ptr::null_mut();
        ok!(clBuildProgram(
            program,
            0,
            null(),
            options.as_ptr(),
            None,
            none
        ));
        let kernel = make!(clCreateKernel(program, c"increase".as_ptr()));
        ok!(clReleaseProgram(program));
        set(kernel, 0, &buffer);
        set(kernel, 1, &3_u32);
        Counter {
            gpu,
            buffer,
            half,
            kernel,
            expected: 0,
        }
    }

    /// One step, not waited for.
    pub fn enqueue(&mut self) {
        self.gpu.run(self.kernel, WORDS);
        self.expected += 3;
    }

    /// The next step's result is right, through both views of the memory.
    pub fn check(&mut self) {
        self.enqueue();
        assert!(self.gpu.read::<u32>(self.buffer, 0, WORDS) == [self.expected; WORDS]);
        assert!(self.gpu.read::<u32>(self.half, 0, WORDS / 2) == [self.expected; WORDS / 2]);
    }

    /// To the point where no driver is left.
    pub fn detach(&mut self) -> (Detached, Store) {
        let mut quiesced = begin().quiesce(PATIENCE).map_err(|(_, e)| e).unwrap();
        let round = quiesced.last_round();
        let read = |object, size: u64| {
            let bytes = quiesced.read(object, 0, OwnedBytes::zeroed(size as usize));
            (object, bytes.unwrap().into_vec())
        };
        let store = round
            .regions
            .iter()
            .map(|r| read(r.object, r.object_size))
            .collect();
        (quiesced.unload().map_err(|(_, e)| e).unwrap(), store)
    }

    /// And back.
    pub fn attach(&mut self, detached: Detached, store: &Store) {
        let (mut arriving, _) = detached.reload().map_err(|(_, e)| e).unwrap();
        while let Some(piece) = arriving.next_range(u64::MAX) {
            let bytes = OwnedBytes::from(store[&piece.object].clone());
            arriving.start_write(&piece, bytes).unwrap().wait().unwrap();
            arriving.arrived(&piece);
        }
        arriving.finish();
    }

    /// There and back with a free device in between, and the right result afterwards.
    pub fn move_and_check(&mut self) {
        self.check();
        let (detached, store) = self.detach();
        let held = (detached.libraries_held(), detached.devices_held());
        assert_eq!(held, Default::default());
        assert_device_is_free();
        self.attach(detached, &store);
        self.check();
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        ok!(clReleaseKernel(self.kernel));
        ok!(clReleaseMemObject(self.half));
        ok!(clReleaseMemObject(self.buffer));
    }
}
