//! Functions by name, version and kind of default stream; failures on request.

mod support;

use std::ffi::{CString, c_void};

use support::Cuda;

fn cuda() -> Cuda {
    Cuda::load("future,version=12080,fail=cuCtxGetDevice:2:NOT_PERMITTED")
}

/// Answer, status, address.
fn find(cuda: &Cuda, name: &str, version: i32, flags: u64) -> (i32, u32, usize) {
    let name = CString::new(name).unwrap();
    let (mut at, mut status) = (std::ptr::null_mut::<c_void>(), 9_u32);
    let code = cuda.call(
        "cuGetProcAddress_v2",
        (name.as_ptr(), &raw mut at, version, flags, &raw mut status),
    );
    (code, status, at.addr())
}

#[test]
fn the_newest_function_for_the_version_is_found() {
    let cuda = cuda();
    let address = |symbol: &str| cuda.address(symbol).addr();
    assert_eq!(
        find(&cuda, "cuMemAlloc", 12000, 0),
        (0, 0, address("cuMemAlloc_v2"))
    );
    assert_eq!(
        find(&cuda, "cuMemAlloc", 3000, 0),
        (0, 0, address("cuMemAlloc"))
    );
    assert_eq!(
        find(&cuda, "cuStreamGetCaptureInfo", 12000, 0),
        (0, 0, address("cuStreamGetCaptureInfo_v2"))
    );
    assert_eq!(
        find(&cuda, "cuStreamGetCaptureInfo", 12030, 2),
        (0, 0, address("cuStreamGetCaptureInfo_v3_ptsz"))
    );
    assert_eq!(
        find(&cuda, "cuMemcpyDtoH", 12000, 2),
        (0, 0, address("cuMemcpyDtoH_v2_ptds"))
    );
    // Without one for per-thread default streams it is the other.
    assert_eq!(
        find(&cuda, "cuMemAlloc", 12000, 2),
        (0, 0, address("cuMemAlloc_v2"))
    );
    assert_eq!(find(&cuda, "cuMemAlloc_v2", 12000, 0), (0, 1, 0));
    assert_eq!(find(&cuda, "cuNothing", 12000, 0), (0, 1, 0));
    assert_eq!(find(&cuda, "cuMemAllocAsync", 10000, 0), (0, 2, 0));
    assert_eq!(find(&cuda, "cuMemAlloc", 13000, 0).0, 1);
    assert_ne!(find(&cuda, "cuStubFuture", 12000, 0).2, 0);
}

#[test]
fn calls_fail_when_told() {
    let cuda = Cuda::with_context("future,version=12080,fail=cuCtxGetDevice:2:NOT_PERMITTED");
    let mut device = 0_i32;
    cuda.ok("cuCtxGetDevice", (&raw mut device,));
    assert_eq!(cuda.call("cuCtxGetDevice", (&raw mut device,)), 800);
    cuda.ok("cuCtxGetDevice", (&raw mut device,));
}
