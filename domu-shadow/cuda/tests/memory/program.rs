//! A program that calls our functions, and a move that takes its memory away and brings it back.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_uint, c_void};
use std::process::Command;
use std::sync::Arc;

use xl_gpu_cuda::abi::*;
use xl_gpu_cuda::api::{contexts, ordinary, pointers};
use xl_gpu_cuda::core::memory::{self, Block, MemoryError};
use xl_gpu_cuda::driver::functions::driver;
use xl_gpu_cuda::driver::library;

unsafe extern "C" {
    fn cuMemcpyHtoD_v2(to: CUdeviceptr, from: *const c_void, bytes: usize) -> CUresult;
    fn cuMemcpyDtoH_v2(to: *mut c_void, from: CUdeviceptr, bytes: usize) -> CUresult;
    fn cuCtxSetCurrent(context: CUcontext) -> CUresult;
}

const CHILD: &str = "XL_GPU_TEST_CHILD";
pub const MIB: usize = 1 << 20;

/// Runs `test`, which is the test of this name, in a process of its own, over a stub with these options.
pub fn over_stub(name: &str, options: &str, test: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        // SAFETY: this process has one thread that reads the environment.
        unsafe { std::env::set_var("XL_GPU_TEST_CHILD", name) };
        assert_eq!(library::open(), Ok(()));
        // Past the function of ours, which starts a session.
        // SAFETY: no pointers.
        assert_eq!(unsafe { driver().cuInit(0) }, CUDA_SUCCESS);
        return test();
    }
    let this = std::env::current_exe().unwrap();
    let stub = this.with_file_name("libxl_gpu_stub_cuda.so");
    let ran = Command::new(&this)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .env("XL_GPU_REAL_LIBCUDA", stub)
        .env("XL_GPU_STUB_CUDA", options)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "{name}: {said}"
    );
}

#[track_caller]
pub fn ok(code: CUresult) {
    assert_eq!(code, CUDA_SUCCESS);
}

/// The primary context of a device, current.
pub fn primary(device: CUdevice) -> CUcontext {
    let mut context = std::ptr::null_mut();
    // SAFETY: this function's variable.
    ok(unsafe { contexts::cuDevicePrimaryCtxRetain(&raw mut context, device) });
    set_current(context);
    context
}

pub fn set_current(context: CUcontext) {
    // SAFETY: no pointers of ours.
    ok(unsafe { cuCtxSetCurrent(context) });
}

pub fn alloc(bytes: usize) -> CUdeviceptr {
    let mut at = 0;
    // SAFETY: this function's variable.
    ok(unsafe { ordinary::cuMemAlloc_v2(&raw mut at, bytes) });
    at
}

pub fn free(at: CUdeviceptr) -> CUresult {
    // SAFETY: no pointers of ours.
    unsafe { ordinary::cuMemFree_v2(at) }
}

/// Bytes that differ everywhere, and with `seed`.
pub fn pattern(bytes: usize, seed: u8) -> Vec<u8> {
    let byte = |i: usize| (i ^ (i >> 8) ^ (i >> 16)) as u8;
    (0..bytes).map(|i| byte(i).wrapping_add(seed)).collect()
}

pub fn write(at: CUdeviceptr, bytes: &[u8]) -> CUresult {
    // SAFETY: the slice is valid.
    unsafe { cuMemcpyHtoD_v2(at, bytes.as_ptr().cast(), bytes.len()) }
}

pub fn read(at: CUdeviceptr, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    // SAFETY: the vector has that many bytes.
    ok(unsafe { cuMemcpyDtoH_v2(bytes.as_mut_ptr().cast(), at, len) });
    bytes
}

pub fn range(at: CUdeviceptr) -> (CUresult, CUdeviceptr, usize) {
    let (mut base, mut size) = (0, 0);
    // SAFETY: this function's variables.
    let code = unsafe { pointers::cuMemGetAddressRange_v2(&raw mut base, &raw mut size, at) };
    (code, base, size)
}

/// All attributes of a pointer that tell of its memory, one by one and together.
pub fn attributes(at: CUdeviceptr) -> Vec<(u32, CUresult, u64, u64)> {
    let one = |attribute: c_uint| {
        let (mut alone, mut among, mut attribute) = (0_u64, 0_u64, attribute);
        // SAFETY: there is room for the longest value.
        let code =
            unsafe { pointers::cuPointerGetAttribute((&raw mut alone).cast(), attribute, at) };
        let mut data: *mut c_void = (&raw mut among).cast();
        // SAFETY: one attribute, and room for it.
        ok(unsafe { pointers::cuPointerGetAttributes(1, &raw mut attribute, &raw mut data, at) });
        (attribute, code, alone, among)
    };
    let others = [
        CU_POINTER_ATTRIBUTE_P2P_TOKENS,
        CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE,
    ];
    let all = (1..=20).filter(|attribute| !others.contains(attribute));
    all.map(one).collect()
}

pub fn free_bytes() -> usize {
    let (mut free, mut total) = (0, 0);
    // SAFETY: this function's variables.
    ok(unsafe { driver().cuMemGetInfo_v2(&raw mut free, &raw mut total) });
    free
}

/// Contents of all blocks.
pub struct Away(BTreeMap<u64, (Arc<Block>, Vec<u8>)>);

/// A copy beside the program: past the gate.
fn copy(copy: impl FnOnce() -> CUresult) {
    ok(copy());
    // SAFETY: no pointers.
    ok(unsafe { driver().cuStreamSynchronize(std::ptr::null_mut()) });
}

/// A block's contents; `None` if the program has freed it.
pub fn contents(block: &Arc<Block>) -> Option<Vec<u8>> {
    let pinned = block.pin()?;
    let _pushed = pinned.context().push()?;
    let mut bytes = vec![0; block.size() as usize];
    let (to, len) = (bytes.as_mut_ptr().cast(), bytes.len());
    // SAFETY: the vector has that many bytes.
    copy(|| unsafe {
        driver().cuMemcpyDtoHAsync_v2(to, pinned.address(), len, std::ptr::null_mut())
    });
    Some(bytes)
}

/// Takes all memory away as a move does, contents and all.
pub fn take() -> Result<Away, MemoryError> {
    let taken = |block: Arc<Block>| {
        let bytes = contents(&block).expect("the program does nothing");
        (block.id().into(), (block, bytes))
    };
    let away = memory::blocks().into_iter().map(taken).collect();
    memory::detach()?;
    Ok(Away(away))
}

impl Away {
    /// Brings it back.
    pub fn give(self) {
        assert_eq!(memory::attach(), Ok(()));
        for (block, bytes) in self.0.values() {
            let pinned = block.pin().unwrap();
            let _pushed = pinned.context().push().unwrap();
            let (from, len) = (bytes.as_ptr().cast(), bytes.len());
            // SAFETY: the vector has that many bytes.
            copy(|| unsafe {
                driver().cuMemcpyHtoDAsync_v2(pinned.address(), from, len, std::ptr::null_mut())
            });
        }
    }
}

/// The driver's state goes off the GPU and comes back.
pub fn checkpoint() {
    let pid = std::process::id() as c_int;
    let mut lock = CUcheckpointLockArgs::default();
    // SAFETY: this function's variable; NULL stands for no arguments.
    unsafe {
        ok(driver().cuCheckpointProcessLock(pid, &raw mut lock));
        ok(driver().cuCheckpointProcessCheckpoint(pid, std::ptr::null_mut()));
        ok(driver().cuCheckpointProcessRestore(pid, std::ptr::null_mut()));
        ok(driver().cuCheckpointProcessUnlock(pid, std::ptr::null_mut()));
    }
}

/// There and back.
pub fn go() {
    let away = take().unwrap();
    checkpoint();
    away.give();
}
