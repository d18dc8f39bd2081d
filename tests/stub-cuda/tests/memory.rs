//! Memory, streams and checkpoints, as a program sees them.

mod support;

use std::ffi::c_void;
use support::*;

#[test]
fn contents_go_there_and_back() {
    let cuda = Cuda::with_context("");
    let mut at = 0_u64;
    cuda.ok("cuMemAlloc_v2", (&raw mut at, 4096_usize));
    let from = [7_u8; 4096];
    cuda.ok("cuMemcpyHtoD_v2", (at, from.as_ptr(), 4096_usize));
    let mut to = [0_u8; 4096];
    cuda.ok("cuMemcpyDtoH_v2", (to.as_mut_ptr(), at, 4096_usize));
    assert_eq!(from, to);
    assert_eq!(
        cuda.call("cuMemcpyDtoH_v2", (to.as_mut_ptr(), at, 4097_usize)),
        1
    );
    cuda.ok("cuMemFree_v2", (at,));
    assert_eq!(cuda.call("cuMemFree_v2", (at,)), 1);
}
