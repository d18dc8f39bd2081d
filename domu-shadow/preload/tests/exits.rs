//! The program exits while its session is in the middle of a move.

mod common;

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use channel::host::{Attached, Copying, HostTimeouts, SerialSink, StepLimits, one_by_one};
use channel::image::Batch;
use channel::link::{Link, Peer};
use channel::loopback::{LoopbackListener, LoopbackPeer, SOCKET_ENV};
use common::*;

/// Longer than anything here takes unless something hangs.
const AGES: Duration = Duration::from_secs(120);
const CHILD: &str = "XL_GPU_EXIT_TEST";
const WORDS: usize = 1 << 16;

static BUFFER: AtomicPtr<std::ffi::c_void> = AtomicPtr::new(null_mut());

/// As the destructors of many a program's static objects.
extern "C" fn release() {
    assert_eq!(
        call!(clReleaseMemObject(BUFFER.load(Ordering::SeqCst))),
        CL_SUCCESS
    );
}

/// Uses the device, waits for a number of microseconds that it reads, and ends.
fn program() {
    let gpu = Gpu::new();
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, WORDS * 4);
    gpu.write(buffer, 0, &vec![1_u32; WORDS]);
    let kernel = gpu.kernel(COUNT, "count");
    set(kernel, 0, &buffer);
    gpu.run(kernel, WORDS);
    gpu.finish();
    BUFFER.store(buffer, Ordering::SeqCst);
    // SAFETY: a plain function of this program's.
    assert_eq!(unsafe { libc::atexit(release) }, 0);
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    std::thread::sleep(Duration::from_micros(line.trim().parse().unwrap()));
    // No call may be needed: the gate may be closed.
    std::mem::forget(gpu);
}

/// The same, and the exit comes from a thread that is not the one which did all that.
fn program_with_threads() {
    program();
    let exit = || {
        let mut count = 0;
        ok!(clGetPlatformIDs(0, null_mut(), &raw mut count));
        // SAFETY: ends the process, with all of a normal exit.
        unsafe { libc::exit(0) }
    };
    let _: () = std::thread::spawn(exit).join().unwrap();
}

struct Nothing;

impl SerialSink for Nothing {
    fn batch(&mut self, _round: u32, _batch: &Batch<'_>) -> Result<(), channel::BoxError> {
        Ok(())
    }
}

/// The program in a process of its own, and the host's end of its session.
struct Exiting {
    child: Child,
    peer: LoopbackPeer,
    socket: PathBuf,
}

impl Exiting {
    fn start(test: &str) -> Exiting {
        let name = format!("xl-gpu-exits-{}-{test}.sock", std::process::id());
        let socket = env::temp_dir().join(name);
        let listener = LoopbackListener::bind(&socket).unwrap();
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(CHILD, test)
            .env(SOCKET_ENV, &socket)
            // Every kernel is compiled, which is when the compiler is at work.
            .env("POCL_KERNEL_CACHE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let peer = listener.accept(AGES).unwrap();
        let mut exiting = Exiting {
            child,
            peer,
            socket,
        };
        exiting.hear("ready");
        exiting
    }

    fn hear(&mut self, word: &str) {
        use std::io::{BufRead, BufReader};
        let out = self.child.stdout.as_mut().unwrap();
        let mut lines = BufReader::new(out).lines();
        assert!(lines.any(|line| line.unwrap().ends_with(word)));
    }

    fn attach(&mut self) -> Attached<Box<dyn Link>> {
        let (link, layout) = self.peer.open(AGES).unwrap();
        let limits = StepLimits {
            round_bytes: 1 << 30,
            batch: channel::image::BatchLimits::default(),
        };
        Attached::new(link, layout, limits, HostTimeouts { silence: AGES })
    }

    fn begin(&mut self) -> Copying<Box<dyn Link>> {
        match self.attach().begin(1) {
            Ok((_, copying)) => copying,
            Err(refused) => panic!("{}", refused.error),
        }
    }

    fn exit_after(&mut self, us: u64) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{us}").unwrap();
    }

    /// It ends by itself, and well.
    fn ends(mut self) {
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if start.elapsed() > AGES => {
                    self.child.kill().unwrap();
                    self.child.wait().unwrap();
                    panic!("the exit hangs");
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        assert!(status.success(), "{status}");
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Whether this is the process of the test's program, which then has run.
fn is_child(test: &str) -> bool {
    is_child_of(test, program)
}

fn is_child_of(test: &str, program: fn()) -> bool {
    let is_child = env::var(CHILD).as_deref() == Ok(test);
    if is_child {
        program();
    }
    is_child
}

#[test]
fn beside_a_begin() {
    if is_child("beside_a_begin") {
        return;
    }
    exits_beside_a_begin("beside_a_begin", &[0, 1600]);
}

#[test]
fn on_another_thread_beside_a_begin() {
    if is_child_of("on_another_thread_beside_a_begin", program_with_threads) {
        return;
    }
    // Spread over the time that the compiler takes.
    exits_beside_a_begin("on_another_thread_beside_a_begin", &[0, 800, 1600, 2400]);
}

fn exits_beside_a_begin(test: &str, moments: &[u64]) {
    for ms in moments {
        let mut exiting = Exiting::start(test);
        let attached = exiting.attach();
        exiting.exit_after(ms * 1000);
        // Refused, or the program is gone before it could answer: that only a daemon's carrier would notice, so nobody waits for it.
        std::thread::spawn(move || drop(attached.begin(1)));
        exiting.ends();
    }
}

#[test]
fn at_rest() {
    if is_child("at_rest") {
        return;
    }
    let mut exiting = Exiting::start("at_rest");
    let copying = exiting.begin();
    let stopped = copying.stop(AGES, &one_by_one(&mut Nothing));
    let stopped = stopped.map_err(|refused| refused.error).unwrap();
    exiting.exit_after(0);
    exiting.ends();
    drop(stopped);
}

#[test]
fn without_a_driver() {
    if is_child("without_a_driver") {
        return;
    }
    let mut exiting = Exiting::start("without_a_driver");
    let copying = exiting.begin();
    let stopped = copying.stop(AGES, &one_by_one(&mut Nothing));
    let (_, quiesced) = stopped.map_err(|refused| refused.error).unwrap();
    let unloaded = quiesced.unload().map_err(|refused| refused.error).unwrap();
    exiting.exit_after(0);
    exiting.ends();
    drop(unloaded);
}
