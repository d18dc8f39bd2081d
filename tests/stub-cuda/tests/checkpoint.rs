//! Checkpoints: states, device nodes, other GPUs. One test, as a process has one state.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use support::Cuda;

const ILLEGAL_STATE: i32 = 401;
const NOT_READY: i32 = 600;
const NO_DEVICE: i32 = 100;
const INVALID_VALUE: i32 = 1;

/// `CUcheckpointRestoreArgs`.
#[repr(C)]
struct Restore<'a> {
    pairs: *const [[u8; 16]; 2],
    count: u32,
    reserved: [u32; 13],
    _pairs: std::marker::PhantomData<&'a ()>,
}

fn restore(cuda: &Cuda, pairs: &[[[u8; 16]; 2]]) -> i32 {
    let arguments = Restore {
        pairs: pairs.as_ptr(),
        count: pairs.len() as u32,
        reserved: [0; 13],
        _pairs: std::marker::PhantomData,
    };
    cuda.call("cuCheckpointProcessRestore", (pid(), &raw const arguments))
}

fn pid() -> i32 {
    std::process::id() as i32
}

fn state(cuda: &Cuda) -> u32 {
    let mut state = 99_u32;
    cuda.ok("cuCheckpointProcessGetState", (pid(), &raw mut state));
    state
}

fn lock(cuda: &Cuda, timeout: u32) -> i32 {
    let mut arguments = [0_u32; 16];
    arguments[0] = timeout;
    cuda.call("cuCheckpointProcessLock", (pid(), arguments.as_ptr()))
}

fn checkpoint(cuda: &Cuda) -> i32 {
    cuda.call("cuCheckpointProcessCheckpoint", (pid(), 0_usize))
}

fn unlock(cuda: &Cuda) -> i32 {
    cuda.call("cuCheckpointProcessUnlock", (pid(), 0_usize))
}

/// Descriptors and mappings of the nodes.
fn held(nodes: &Path) -> (usize, usize) {
    let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let paths = files.filter_map(|file| fs::read_link(file.path()).ok());
    let files = paths.filter(|path| path.starts_with(nodes)).count();
    let mappings = fs::read_to_string("/proc/self/maps").unwrap();
    let node = nodes.to_str().unwrap();
    (
        files,
        mappings.lines().filter(|line| line.contains(node)).count(),
    )
}

fn uuid(cuda: &Cuda) -> [u8; 16] {
    let mut uuid = [0_u8; 16];
    cuda.ok("cuDeviceGetUuid_v2", (uuid.as_mut_ptr(), 0_i32));
    uuid
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("xl-gpu-stub-cuda-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

const OLD: [u8; 16] = [0x11; 16];
const NEW: [u8; 16] = [0x22; 16];

fn line(uuid: [u8; 16]) -> String {
    uuid.iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        + "\n"
}

#[test]
fn the_process_leaves_its_devices_and_comes_back() {
    let folder = folder();
    for node in ["nvidiactl", "nvidia0"] {
        fs::write(folder.join(node), "").unwrap();
    }
    let uuids = folder.join("uuids");
    fs::write(&uuids, line(OLD)).unwrap();
    let options = format!("nodes={},uuids={}", folder.display(), uuids.display());
    let cuda = Cuda::with_context(&options);
    assert_eq!(held(&folder), (2, 2));
    let at = cuda.allocate(5000);
    cuda.ok("cuMemsetD8_v2", (at, 0x77_u8, 5000_usize));

    assert_eq!(checkpoint(&cuda), ILLEGAL_STATE);
    assert_eq!(unlock(&cuda), ILLEGAL_STATE);

    // Work that does not end: the lock gives up, and the process goes on.
    let mut flag = std::ptr::null_mut::<u32>();
    cuda.ok("cuMemHostAlloc", (&raw mut flag, 4_usize, 0_u32));
    // SAFETY: just allocated.
    unsafe { flag.write(0) };
    cuda.ok(
        "cuStreamWaitValue32_v2",
        (0_usize, flag.expose_provenance() as u64, 1_u32, 0_u32),
    );
    assert_eq!(lock(&cuda, 30), NOT_READY);
    assert_eq!(state(&cuda), 0);
    // SAFETY: as above.
    unsafe { flag.write_volatile(1) };

    assert_eq!(lock(&cuda, 10_000), 0);
    assert_eq!(state(&cuda), 1);
    assert_eq!(lock(&cuda, 0), ILLEGAL_STATE);
    // A call of another thread waits.
    let (tell, told) = mpsc::channel();
    let waiting = thread::spawn(move || {
        let cuda = Cuda::again();
        let mut count = 0_i32;
        cuda.ok("cuDeviceGetCount", (&raw mut count,));
        tell.send(count).unwrap();
    });
    assert!(told.recv_timeout(Duration::from_millis(30)).is_err());

    assert_eq!(checkpoint(&cuda), 0);
    assert_eq!(state(&cuda), 2);
    assert_eq!(held(&folder), (0, 0));
    assert_eq!(unlock(&cuda), ILLEGAL_STATE);

    // The node is away; then there is another GPU behind it, which has to be named.
    fs::rename(folder.join("nvidia0"), folder.join("away")).unwrap();
    assert_eq!(restore(&cuda, &[]), NO_DEVICE);
    fs::rename(folder.join("away"), folder.join("nvidia0")).unwrap();
    fs::write(&uuids, line(NEW)).unwrap();
    assert_eq!(restore(&cuda, &[]), NO_DEVICE);
    assert_eq!(restore(&cuda, &[[NEW, OLD]]), INVALID_VALUE);
    assert_eq!(restore(&cuda, &[[OLD, NEW], [OLD, NEW]]), INVALID_VALUE);
    assert_eq!(state(&cuda), 2);
    assert_eq!(restore(&cuda, &[[OLD, NEW]]), 0);
    assert_eq!(state(&cuda), 1);
    assert_eq!(held(&folder), (2, 2));
    assert!(told.try_recv().is_err());
    assert_eq!(unlock(&cuda), 0);
    assert_eq!(told.recv(), Ok(1));
    waiting.join().unwrap();

    assert_eq!(uuid(&cuda), NEW);
    let mut found = [0_u8; 5000];
    cuda.ok("cuMemcpyDtoH_v2", (found.as_mut_ptr(), at, 5000_usize));
    assert_eq!(found, [0x77; 5000]);

    // Managed memory spoils it, for ever.
    let mut managed = 0_u64;
    cuda.ok("cuMemAllocManaged", (&raw mut managed, 4096_usize, 1_u32));
    assert_eq!(lock(&cuda, 0), 0);
    assert_eq!(checkpoint(&cuda), 801);
    assert_eq!(unlock(&cuda), 0);
    cuda.ok("cuMemFree_v2", (managed,));
    assert_eq!(lock(&cuda, 0), 0);
    assert_eq!(checkpoint(&cuda), 999);
    assert_eq!(unlock(&cuda), 0);

    cuda.ok("cuDevicePrimaryCtxReset_v2", (0_i32,));
    assert_eq!(held(&folder), (1, 0));
    fs::remove_dir_all(&folder).unwrap();
}
