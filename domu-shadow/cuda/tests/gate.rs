//! Calls and the gate, over a driver that only says what it got (`driver.c`).

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use runtime::gate;
use xl_gpu_cuda::core::capturing;
use xl_gpu_cuda::driver::library;
use xl_gpu_cuda::front::{marks, unknown};

unsafe extern "C" {
    fn cuDriverGetVersion(version: *mut c_int) -> c_int;
    fn cuCtxGetApiVersion(context: u64, version: *mut c_uint) -> c_int;
    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) -> c_int;
    fn cuGraphicsMapResources(count: c_uint, resources: *mut c_void, stream: *mut c_void) -> c_int;
    fn cuStreamBeginCapture_v2(stream: *mut c_void, mode: c_uint) -> c_int;
    fn cuStreamEndCapture(stream: *mut c_void, graph: *mut *mut c_void) -> c_int;
    fn cuFuncGetName(name: *mut *const c_char, function: *mut c_void) -> c_int;
    fn cuGetProcAddress_v2(
        name: *const c_char,
        function: *mut *mut c_void,
        version: c_int,
        flags: u64,
        status: *mut c_int,
    ) -> c_int;
}

/// Has the driver found. Every test begins with it.
fn driver() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let folder = std::env::temp_dir().join(format!("xl-gpu-cuda-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("libcuda.so.1");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/driver.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&file)
            .arg(source)
            .status();
        assert!(compiled.unwrap().success());
        // SAFETY: the other tests wait; nothing else reads the environment yet.
        unsafe { std::env::set_var("XL_GPU_REAL_LIBCUDA", &file) };
        // A jump opens it, too.
        assert!(!library::is_open());
        assert_eq!(version(), 12345);
        assert!(library::is_open());
        std::fs::remove_dir_all(folder).unwrap();
    });
}

fn version() -> c_int {
    let mut version = 0;
    // SAFETY: writes one number.
    assert_eq!(unsafe { cuDriverGetVersion(&raw mut version) }, 0);
    version
}

fn passes_gate() {
    let mut version = 0;
    // SAFETY: writes one number.
    assert_eq!(unsafe { cuCtxGetApiVersion(6, &raw mut version) }, 0);
    assert_eq!(version, 7);
}

fn copies() {
    // SAFETY: the driver reads nothing.
    let answer = unsafe { cuMemcpyHtoD_v2(1 << 40, (&raw const PLACE).cast(), 2) };
    assert_eq!(answer, 0);
}

static PLACE: u32 = 0;

#[test]
fn a_closed_gate_holds_what_passes_it() {
    driver();
    static DONE: AtomicU32 = AtomicU32::new(0);
    passes_gate();
    let stream = std::ptr::without_provenance_mut(64);
    // SAFETY: the driver only compares its arguments.
    let begin = || unsafe { cuStreamBeginCapture_v2(stream, 1) };
    // SAFETY: as above.
    let end = |graph: usize| unsafe {
        cuStreamEndCapture(stream, std::ptr::without_provenance_mut(graph))
    };
    assert_eq!((begin(), capturing::open()), (0, 1));
    let mut draining = gate::drain().expect("only this test closes the gate");
    // A capture that is open has to end.
    std::thread::scope(|scope| scope.spawn(passes_gate).join().unwrap());
    assert_eq!((end(0), capturing::open()), (1, 1));
    assert_eq!((end(usize::MAX), capturing::open()), (901, 0));
    // One that begins late lets in who waits already.
    std::thread::scope(|scope| {
        let waits = scope.spawn(passes_gate);
        std::thread::sleep(Duration::from_millis(20));
        assert!(!waits.is_finished());
        let late = capturing::Stream::of(stream, false);
        capturing::begin(late);
        waits.join().unwrap();
        capturing::end(late);
    });
    // The other tests make calls.
    let closed = loop {
        match draining.close() {
            Ok(closed) => break closed,
            Err(again) => draining = again,
        }
    };
    std::thread::scope(|scope| {
        for call in [passes_gate, copies] {
            scope.spawn(move || {
                call();
                DONE.fetch_add(1, Ordering::SeqCst);
            });
        }
        scope.spawn(|| assert_eq!(version(), 12345)).join().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(
            DONE.load(Ordering::SeqCst),
            0,
            "a call passed a closed gate"
        );
        // At the program's exit calls pass a closed gate: they fail where the driver would have them wait.
        library::goes_away();
        let exits = scope.spawn(|| {
            gate::stay_inside();
            let mut version = 0;
            // SAFETY: writes one number.
            unsafe { cuCtxGetApiVersion(6, &raw mut version) }
        });
        let answer = exits.join().unwrap();
        assert_eq!(answer, xl_gpu_cuda::abi::CUDA_ERROR_DEINITIALIZED);
        library::is_back();
        drop(closed);
    });
    assert_eq!(DONE.load(Ordering::SeqCst), 2);
}

#[test]
fn what_a_driver_does_not_have_is_not_supported() {
    driver();
    let mut name = std::ptr::null();
    // SAFETY: the driver does not have it.
    let answer = unsafe { cuFuncGetName(&raw mut name, std::ptr::null_mut()) };
    assert_eq!(answer, xl_gpu_cuda::abi::CUDA_ERROR_NOT_SUPPORTED);
}

fn look_up(name: &CStr) -> *mut c_void {
    let (mut function, mut status) = (std::ptr::null_mut(), -1);
    // SAFETY: writes a pointer and a number.
    let answer =
        unsafe { cuGetProcAddress_v2(name.as_ptr(), &raw mut function, 13000, 0, &raw mut status) };
    assert_eq!((answer, status), (0, 0));
    function
}

#[test]
fn asking_is_free_and_calling_is_noted() {
    driver();
    let future = look_up(c"cuFuture");
    assert_eq!(future, look_up(c"cuFuture"));
    assert_eq!((unknown::used(), marks::used()), (None, None));
    type Future = extern "C" fn(u64, u64, u64, u64, u64, u64, u64, f64) -> c_int;
    // SAFETY: its prototype in driver.c.
    let future: Future = unsafe { std::mem::transmute(future) };
    assert_eq!(future(1, 2, 3, 4, 5, 6, 7, 8.5), 0);
    assert!(unknown::used().is_some_and(|reason| reason.contains("cuFuture")));
    let at = std::ptr::without_provenance_mut;
    // SAFETY: the driver only compares its arguments.
    assert_eq!(unsafe { cuGraphicsMapResources(1, at(2), at(3)) }, 0);
    assert!(marks::used().is_some_and(|reason| reason.contains("graphics")));
}
