//! What keeps the process where it is, while it is there.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use runtime::gate;
use xl_gpu_cuda::abi::*;
use xl_gpu_cuda::api::contexts::cuCtxDestroy_v2;
use xl_gpu_cuda::api::ordinary::cuMemAllocManaged;
use xl_gpu_cuda::api::sharing::{cuIpcCloseMemHandle, cuIpcGetMemHandle, cuIpcOpenMemHandle_v2};
use xl_gpu_cuda::core::ending::take_apart;
use xl_gpu_cuda::core::ipc::handle::Handle;
use xl_gpu_cuda::core::ipc::socket::{AskError, ask};
use xl_gpu_cuda::core::obstacles::{IPC_MEMORY, blocked};
use xl_gpu_cuda::core::ordinary::Opened;
use xl_gpu_cuda::core::state::state;
use xl_gpu_cuda::core::{current, memory, moving, obstacles};
use xl_gpu_cuda::driver::vm::Real;

use super::contexts::create;
use super::program::{
    MIB, alloc, free, free_bytes, go, ok, over_stub, pattern, primary, range, read, write,
};

#[track_caller]
fn blocked_by(part: &str) {
    let reason = blocked().unwrap_or_default();
    assert!(reason.contains(part), "{reason}");
}

#[test]
fn managed_memory_blocks_while_it_lives() {
    over_stub("shared::managed_memory_blocks_while_it_lives", "", || {
        assert_eq!(blocked(), None);
        primary(0);
        assert_eq!(blocked(), None);
        let mut at = 0;
        // SAFETY: this function's variable.
        ok(unsafe { cuMemAllocManaged(&raw mut at, MIB, 1) });
        blocked_by("managed memory");
        ok(free(at));
        assert_eq!(blocked(), None);
    });
}

#[test]
fn a_failed_call_blocks_nothing() {
    let options = "fail=cuMemAllocManaged:*:OUT_OF_MEMORY";
    over_stub("shared::a_failed_call_blocks_nothing", options, || {
        primary(0);
        let mut at = 0;
        // SAFETY: this function's variable.
        let code = unsafe { cuMemAllocManaged(&raw mut at, MIB, 1) };
        assert_eq!(code, CUDA_ERROR_OUT_OF_MEMORY);
        assert_eq!(blocked(), None);
    });
}

#[test]
fn a_shared_gpu_blocks() {
    over_stub("shared::a_shared_gpu_blocks", "mps", || {
        primary(0);
        blocked_by("MPS");
    });
}

#[test]
fn a_part_of_a_gpu_blocks() {
    over_stub(
        "shared::a_part_of_a_gpu_blocks",
        "name=NVIDIA H200 MIG 1g.18gb",
        || {
            primary(0);
            blocked_by("MIG");
        },
    );
}

#[test]
fn a_driver_without_checkpoints_blocks() {
    over_stub(
        "shared::a_driver_without_checkpoints_blocks",
        "no_checkpoint",
        || {
            primary(0);
            blocked_by("without the checkpoint functions");
        },
    );
}

#[test]
fn a_broken_context_blocks() {
    over_stub("shared::a_broken_context_blocks", "", || {
        primary(0);
        obstacles::note_error(CUDA_ERROR_INVALID_CONTEXT);
        assert_eq!(blocked(), None);
        obstacles::note_error(CUDA_ERROR_ILLEGAL_ADDRESS);
        blocked_by("broken (error 700)");
    });
}

/// The driver's answer, and the handle.
fn shared(at: CUdeviceptr) -> (CUresult, CUipcMemHandle) {
    let mut handle = CUipcMemHandle([0; 64]);
    // SAFETY: this function's variable.
    let code = unsafe { cuIpcGetMemHandle(&raw mut handle, at) };
    (code, handle)
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The thread that answers is not done yet when the answer is here.
fn eventually(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn closed_gate() -> gate::Closed {
    let mut draining = gate::drain().unwrap();
    loop {
        match draining.close() {
            Ok(closed) => return closed,
            Err(again) => draining = again,
        }
    }
}

/// As another process would.
fn ask_for(handle: CUipcMemHandle) -> Result<OwnedFd, AskError> {
    let name = Handle::parse(&handle.0).unwrap().exporter.socket();
    ask(&name, &handle.0)
}

#[test]
fn memory_is_given_to_whoever_has_its_handle() {
    over_stub(
        "shared::memory_is_given_to_whoever_has_its_handle",
        "",
        || {
            primary(0);
            let (at, other) = (alloc(4 * MIB), alloc(3 * MIB));
            let (code, handle) = shared(at);
            ok(code);
            // Whole, wherever in it the pointer is.
            assert_eq!(shared(at + 12345), (CUDA_SUCCESS, handle));
            assert_ne!(shared(other).1, handle);
            let bytes = pattern(4 * MIB, 1);
            ok(write(at, &bytes));
            let memory = Real.import(ask_for(handle).unwrap().as_fd()).unwrap();
            let context = state().allocations.get(at).unwrap().context.clone();
            let (window, mapped) = moving::adopt(4 * MIB, context, memory, &Real).unwrap();
            assert!(read(window, 4 * MIB) == bytes);
            // A move leaves it where it is. Whoever asks meanwhile waits.
            let open = open_files();
            let closed = closed_gate();
            std::thread::scope(|scope| {
                let asking = scope.spawn(|| ask_for(handle).map(drop));
                std::thread::sleep(Duration::from_millis(50));
                assert!(!asking.is_finished(), "the driver was called in a move");
                go();
                drop(closed);
                asking.join().unwrap().unwrap();
            });
            assert!(read(at, 4 * MIB) == bytes);
            eventually(|| open_files() == open);
            // Any wrong octet of the secret, or of what it is.
            for octet in [16, 24, 32, 40, 55] {
                let mut wrong = handle;
                wrong.0[octet] ^= 1;
                let answer = ask_for(wrong);
                assert!(matches!(answer, Err(AskError::Refused)), "{octet}");
            }
            // Freed, and memory of the same size made: perhaps at the same address.
            ok(free(at));
            let again = alloc(4 * MIB);
            ok(shared(again).0);
            assert!(matches!(ask_for(handle), Err(AskError::Refused)));
            // The other process still has it.
            assert!(read(window, 4 * MIB) == bytes);
            take_apart(window, &mapped, &Real);
        },
    );
}

/// As if another process had given it.
fn opened(handle: CUipcMemHandle, bytes: usize) -> CUdeviceptr {
    let memory = Real.import(ask_for(handle).unwrap().as_fd()).unwrap();
    let mut locked = state();
    let context = current::context(&mut locked, current::handle()).unwrap();
    let (at, allocation) = moving::adopt(bytes, context, memory, &Real).unwrap();
    let opened = Opened {
        handle,
        times: 2,
        _hold: IPC_MEMORY.hold(),
    };
    locked.allocations.insert(at, allocation.open(opened));
    at
}

#[test]
fn memory_of_another_process_is_closed_or_ends_with_its_context() {
    over_stub(
        "shared::memory_of_another_process_is_closed_or_ends_with_its_context",
        "",
        || {
            primary(0);
            let bytes = 3 * MIB;
            let handle = shared(alloc(bytes)).1;
            let before = free_bytes();
            let at = opened(handle, bytes);
            blocked_by("cuIpcOpenMemHandle");
            assert_eq!(range(at + 4096), (CUDA_SUCCESS, at, bytes));
            assert_eq!(free(at), CUDA_ERROR_INVALID_VALUE);
            assert_eq!(shared(at).0, CUDA_ERROR_INVALID_VALUE);
            // SAFETY: no pointers of ours.
            let close = || unsafe { cuIpcCloseMemHandle(at) };
            ok(close());
            blocked_by("cuIpcOpenMemHandle");
            ok(close());
            assert_eq!(blocked(), None);
            assert_ne!(range(at).0, CUDA_SUCCESS);
            assert_ne!(close(), CUDA_SUCCESS);
            let second = create(0);
            opened(handle, bytes);
            blocked_by("cuIpcOpenMemHandle");
            // SAFETY: no pointers.
            ok(unsafe { cuCtxDestroy_v2(second) });
            assert_eq!(blocked(), None);
            primary(0);
            assert_eq!(free_bytes(), before);
            // It is this process's own.
            let mut again = 0;
            // SAFETY: this function's variable.
            let code = unsafe { cuIpcOpenMemHandle_v2(&raw mut again, handle, 1) };
            assert_eq!((code, blocked()), (CUDA_ERROR_INVALID_CONTEXT, None));
            go();
        },
    );
}

#[test]
fn memory_that_cannot_be_given_says_so_at_once() {
    let options = "fail=cuMemExportToShareableHandle:1:NOT_SUPPORTED";
    over_stub(
        "shared::memory_that_cannot_be_given_says_so_at_once",
        options,
        || {
            primary(0);
            let at = alloc(4 * MIB);
            assert_eq!(shared(at).0, CUDA_ERROR_NOT_SUPPORTED);
            assert_eq!(memory::blocks().len(), 1, "it still moves");
            ok(shared(at).0);
            assert_eq!(memory::blocks().len(), 0);
        },
    );
}

#[test]
fn memory_that_others_may_open_is_left_to_the_driver() {
    over_stub(
        "shared::memory_that_others_may_open_is_left_to_the_driver",
        "",
        || {
            primary(0);
            let at = alloc(4 * MIB);
            ok(shared(at).0);
            assert_eq!(blocked(), None);
            assert_eq!(
                (memory::blocks().len(), memory::left().device),
                (0, 4 << 20)
            );
            go();
            ok(free(at));
        },
    );
}

#[test]
fn a_debugger_blocks_while_it_is_attached() {
    over_stub("shared::a_debugger_blocks_while_it_is_attached", "", || {
        primary(0);
        assert_eq!(blocked(), None);
        let this = std::process::id();
        // SAFETY: the child makes system calls only; this process waits for it to stop.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as above. It stops itself once it has attached, and ends when it is continued.
            unsafe {
                let seized = libc::ptrace(libc::PTRACE_SEIZE, this, 0, 0);
                if seized != 0 {
                    libc::_exit(1);
                }
                libc::raise(libc::SIGSTOP);
                libc::_exit(0);
            }
        }
        let mut status = 0;
        // SAFETY: this function's variable.
        unsafe { libc::waitpid(child, &raw mut status, libc::WUNTRACED) };
        if !libc::WIFSTOPPED(status) {
            // The kernel lets no child trace its parent here.
            return;
        }
        blocked_by(&format!("a debugger is attached (process {child})"));
        // SAFETY: a child of this process's.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, &raw mut status, 0);
        }
        assert_eq!(blocked(), None);
    });
}

#[test]
fn a_profiler_blocks() {
    over_stub("shared::a_profiler_blocks", "", || {
        primary(0);
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = folder.join("libToolsInjection64.so");
        let compiled = std::process::Command::new("cc")
            .args(["-shared", "-x", "c", "/dev/null", "-o"])
            .arg(&library)
            .status();
        assert!(compiled.unwrap().success());
        assert_eq!(blocked(), None);
        // SAFETY: nothing is in it.
        let loaded = unsafe { libloading::Library::new(&library) };
        blocked_by("a profiler or sanitizer");
        drop(loaded);
        // SAFETY: this process has one thread that reads the environment.
        unsafe { std::env::set_var("CUDA_INJECTION64_PATH", "/opt/nsys/libinjection.so") };
        blocked_by("CUDA_INJECTION64_PATH");
    });
}
