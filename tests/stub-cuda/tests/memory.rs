//! Memory as a program sees it.

mod support;

use std::ffi::c_void;

use support::{Access, Cuda, Properties};

const GRANULE: usize = 2 << 20;

fn cuda() -> Cuda {
    Cuda::with_context("memory=64M,devices=2")
}

#[test]
fn contents_go_there_and_back() {
    let cuda = cuda();
    let at = cuda.allocate(4096);
    let from = [7_u8; 4096];
    cuda.ok("cuMemcpyHtoD_v2", (at, from.as_ptr(), 4096_usize));
    let mut to = [0_u8; 4096];
    cuda.ok("cuMemcpyDtoH_v2", (to.as_mut_ptr(), at, 4096_usize));
    assert_eq!(from, to);
    let beyond = (to.as_mut_ptr(), at, 4097_usize);
    assert_eq!(cuda.call("cuMemcpyDtoH_v2", beyond), 1);
    cuda.ok("cuMemFree_v2", (at,));
    assert_eq!(cuda.call("cuMemFree_v2", (at,)), 1);
}

#[test]
fn small_allocations_share_a_granule_and_large_ones_begin_one() {
    let cuda = cuda();
    let mut context = 0_usize;
    cuda.ok("cuCtxCreate_v2", (&raw mut context, 0_u32, 1_i32));
    let (a, b, c) = (
        cuda.allocate(100),
        cuda.allocate(1000),
        cuda.allocate(1 << 20),
    );
    assert_eq!(a % GRANULE as u64, 0);
    assert_eq!(b, a + 0x200);
    assert_eq!(c % GRANULE as u64, 0);
    let (mut base, mut size) = (0_u64, 0_usize);
    cuda.ok(
        "cuMemGetAddressRange_v2",
        (&raw mut base, &raw mut size, b + 999),
    );
    assert_eq!((base, size), (b, 1000));
    assert_eq!(
        cuda.call(
            "cuMemGetAddressRange_v2",
            (&raw mut base, &raw mut size, b + 1000)
        ),
        500
    );
    // The address of what is freed can be reserved at once; that of small ones cannot.
    cuda.ok("cuMemFree_v2", (c,));
    assert_eq!(cuda.reserve(1 << 20, c), c);
    cuda.ok("cuMemAddressFree", (c, 1_usize << 20));
    cuda.ok("cuMemFree_v2", (a,));
    assert_ne!(cuda.reserve(GRANULE, a), a);
    cuda.ok("cuCtxDestroy_v2", (context,));
}

#[test]
fn memory_ends_and_comes_back() {
    let cuda = cuda();
    let mut context = 0_usize;
    cuda.ok("cuCtxCreate_v2", (&raw mut context, 0_u32, 1_i32));
    let mut at = 0_u64;
    assert_eq!(cuda.call("cuMemAlloc_v2", (&raw mut at, 65_usize << 20)), 2);
    let at = cuda.allocate(40 << 20);
    let mut other = 0_u64;
    assert_eq!(
        cuda.call("cuMemAlloc_v2", (&raw mut other, 40_usize << 20)),
        2
    );
    cuda.ok("cuMemFree_v2", (at,));
    cuda.allocate(40 << 20);
    cuda.ok("cuCtxDestroy_v2", (context,));
}

#[test]
fn mappings_of_one_memory_are_one() {
    let cuda = cuda();
    let properties = Properties::of_device(0, 0);
    let mut handle = 0_u64;
    cuda.ok(
        "cuMemCreate",
        (&raw mut handle, GRANULE, &raw const properties, 0_u64),
    );
    assert_eq!(
        cuda.call(
            "cuMemCreate",
            (
                &raw mut handle,
                GRANULE + 4096,
                &raw const properties,
                0_u64
            )
        ),
        1
    );
    let range = cuda.reserve(2 * GRANULE, 0);
    let second = range + GRANULE as u64;
    cuda.ok("cuMemMap", (range, GRANULE, 0_usize, handle, 0_u64));
    assert_eq!(
        cuda.call("cuMemMap", (range, GRANULE, 0_usize, handle, 0_u64)),
        1
    );
    cuda.ok("cuMemMap", (second, GRANULE, 0_usize, handle, 0_u64));
    // No handle of it for other processes by the old way, as on an H200.
    let mut shared = [0_u8; 64];
    assert_eq!(
        cuda.call("cuIpcGetMemHandle", (shared.as_mut_ptr(), range)),
        1
    );
    // Mapped, but nobody may touch it.
    assert_eq!(cuda.call("cuMemsetD8_v2", (range, 1_u8, 16_usize)), 1);
    let access = Access::of_device(0, 3);
    cuda.ok(
        "cuMemSetAccess",
        (range, 2 * GRANULE, &raw const access, 1_usize),
    );
    cuda.ok("cuMemsetD32_v2", (range, 0x0102_0304_u32, 4_usize));
    let mut found = 0_u32;
    cuda.ok("cuMemcpyDtoH_v2", (&raw mut found, second + 12, 4_usize));
    assert_eq!(found, 0x0102_0304);
    // Handles can go while mappings are there, and come back from them.
    cuda.ok("cuMemRelease", (handle,));
    assert_eq!(cuda.call("cuMemRelease", (handle,)), 1);
    let mut again = 0_u64;
    cuda.ok("cuMemRetainAllocationHandle", (&raw mut again, range));
    cuda.ok("cuMemRelease", (again,));
    assert_eq!(cuda.call("cuMemUnmap", (range, GRANULE / 2)), 1);
    assert_eq!(cuda.call("cuMemAddressFree", (range, 2 * GRANULE)), 1);
    cuda.ok("cuMemUnmap", (range, 2 * GRANULE));
    cuda.ok("cuMemAddressFree", (range, 2 * GRANULE));
}

#[test]
fn memory_is_shared_by_descriptor() {
    let cuda = cuda();
    let properties = Properties::of_device(0, 1);
    let (mut handle, mut file, mut imported) = (0_u64, -1_i32, 0_u64);
    cuda.ok(
        "cuMemCreate",
        (&raw mut handle, GRANULE, &raw const properties, 0_u64),
    );
    cuda.ok(
        "cuMemExportToShareableHandle",
        (&raw mut file, handle, 1_u32, 0_u64),
    );
    cuda.ok(
        "cuMemImportFromShareableHandle",
        (&raw mut imported, file as usize, 1_u32),
    );
    let range = cuda.reserve(2 * GRANULE, 0);
    cuda.ok("cuMemMap", (range, GRANULE, 0_usize, handle, 0_u64));
    cuda.ok(
        "cuMemMap",
        (range + GRANULE as u64, GRANULE, 0_usize, imported, 0_u64),
    );
    let access = Access::of_device(0, 3);
    cuda.ok(
        "cuMemSetAccess",
        (range, 2 * GRANULE, &raw const access, 1_usize),
    );
    cuda.ok("cuMemsetD8_v2", (range + 5, 9_u8, 1_usize));
    let mut found = 0_u8;
    cuda.ok(
        "cuMemcpyDtoH_v2",
        (&raw mut found, range + GRANULE as u64 + 5, 1_usize),
    );
    assert_eq!(found, 9);
}

#[test]
fn host_memory_is_where_it_is() {
    let cuda = cuda();
    let mut own = vec![3_u32; 5000];
    let at = own.as_mut_ptr();
    cuda.ok("cuMemHostRegister_v2", (at, 20_000_usize, 0_u32));
    assert_eq!(
        cuda.call("cuMemHostRegister_v2", (at, 20_000_usize, 0_u32)),
        712
    );
    let mut device = 0_u64;
    cuda.ok("cuMemHostGetDevicePointer_v2", (&raw mut device, at, 0_u32));
    assert_eq!(device, at.expose_provenance() as u64);
    cuda.ok("cuMemsetD32_v2", (device, 8_u32, 5000_usize));
    cuda.ok("cuMemHostUnregister", (at,));
    assert_eq!(cuda.call("cuMemHostUnregister", (at,)), 713);
    assert_eq!(own, [8; 5000]);
    assert_eq!(
        cuda.call("cuMemHostRegister_v2", (0x1000_usize, 4096_usize, 0_u32)),
        1
    );
}

#[test]
fn both_sides_reach_managed_memory() {
    let cuda = cuda();
    let mut at = 0_u64;
    cuda.ok("cuMemAllocManaged", (&raw mut at, 4096_usize, 1_u32));
    cuda.ok("cuMemsetD8_v2", (at, 0x5a_u8, 4096_usize));
    let bytes = std::ptr::with_exposed_provenance::<u8>(at as usize);
    // SAFETY: just allocated for both sides.
    assert_eq!(unsafe { bytes.add(4095).read() }, 0x5a);
    let (mut managed, mut kind) = (0_u32, 0_u32);
    cuda.ok("cuPointerGetAttribute", (&raw mut managed, 8_u32, at));
    cuda.ok("cuPointerGetAttribute", (&raw mut kind, 2_u32, at));
    assert_eq!((managed, kind), (1, 2));
    cuda.ok("cuMemFree_v2", (at,));
}

#[test]
fn rectangles_are_copied() {
    let cuda = cuda();
    let (mut at, mut pitch) = (0_u64, 0_usize);
    cuda.ok(
        "cuMemAllocPitch_v2",
        (&raw mut at, &raw mut pitch, 30_usize, 4_usize, 4_u32),
    );
    assert_eq!(pitch, 512);
    let from: Vec<u8> = (0..120).collect();
    let mut copy = [0_usize; 16];
    copy[2] = 1;
    copy[3] = from.as_ptr().expose_provenance();
    copy[6] = 30;
    copy[9] = 2;
    copy[11] = at as usize;
    copy[13] = pitch;
    copy[14] = 30;
    copy[15] = 4;
    cuda.ok("cuMemcpy2D_v2", (copy.as_ptr(),));
    let mut line = [0_u8; 30];
    cuda.ok(
        "cuMemcpyDtoH_v2",
        (line.as_mut_ptr(), at + 3 * 512, 30_usize),
    );
    assert_eq!(line[..], from[90..]);
    copy[13] = 29;
    assert_eq!(cuda.call("cuMemcpy2D_v2", (copy.as_ptr(),)), 1);
}

#[test]
fn pools_give_in_the_order_of_streams() {
    let cuda = cuda();
    let (mut stream, mut at, mut pool) = (0_usize, 0_u64, 0_usize);
    cuda.ok("cuStreamCreate", (&raw mut stream, 1_u32));
    cuda.ok("cuMemAllocAsync", (&raw mut at, 100_000_usize, stream));
    cuda.ok("cuMemsetD8Async", (at, 1_u8, 100_000_usize, stream));
    cuda.ok("cuPointerGetAttribute", (&raw mut pool, 17_u32, at));
    let (mut default, mut used) = (0_usize, 0_u64);
    cuda.ok("cuDeviceGetDefaultMemPool", (&raw mut default, 0_i32));
    assert_eq!(pool, default);
    cuda.ok("cuMemPoolGetAttribute", (pool, 7_u32, &raw mut used));
    assert!(used >= 100_000);
    cuda.ok("cuMemFreeAsync", (at, stream));
    cuda.ok("cuStreamSynchronize", (stream,));
    assert_eq!(cuda.call("cuMemFreeAsync", (at, stream)), 1);
}

#[test]
fn what_is_none_of_ours_is_refused() {
    let cuda = cuda();
    let mut value = 0_u64;
    let own = [0_u8; 8];
    let at = own.as_ptr().expose_provenance() as u64;
    assert_eq!(
        cuda.call("cuPointerGetAttribute", (&raw mut value, 2_u32, at)),
        1
    );
    assert_eq!(cuda.call("cuMemsetD8_v2", (at, 0_u8, 1_usize)), 1);
    let none = std::ptr::null::<c_void>();
    assert_eq!(cuda.call("cuMemcpyHtoD_v2", (at, none, 8_usize)), 1);
}

#[test]
fn handles_of_memory_are_for_others() {
    let cuda = cuda();
    let at = cuda.allocate(4096);
    let mut handle = [0_u8; 64];
    cuda.ok("cuIpcGetMemHandle", (handle.as_mut_ptr(), at));
    assert_ne!(handle, [0; 64]);
    // The contents are still there.
    cuda.ok("cuMemsetD8_v2", (at, 6_u8, 4096_usize));
    let mut found = 0_u8;
    cuda.ok("cuMemcpyDtoH_v2", (&raw mut found, at + 4095, 1_usize));
    assert_eq!(found, 6);
}
