//! Contexts end, with what is in them; and others reach their memory.

use std::sync::Arc;

use xl_gpu_cuda::abi::*;
use xl_gpu_cuda::api::contexts::{
    cuCtxCreate_v2, cuCtxDestroy_v2, cuDevicePrimaryCtxRelease_v2, cuDevicePrimaryCtxReset_v2,
};
use xl_gpu_cuda::core::memory;
use xl_gpu_cuda::driver::functions::driver;
use xl_gpu_cuda::driver::vm::read_write;

use super::program::{
    MIB, alloc, free, free_bytes, go, ok, over_stub, pattern, primary, read, set_current, write,
};

pub fn create(device: CUdevice) -> CUcontext {
    let mut context = std::ptr::null_mut();
    // SAFETY: this function's variable.
    ok(unsafe { cuCtxCreate_v2(&raw mut context, 0, device) });
    context
}

#[test]
fn a_context_goes_with_its_memory() {
    over_stub("contexts::a_context_goes_with_its_memory", "", || {
        let first = primary(0);
        let stays = alloc(2 * MIB);
        let before = free_bytes();
        let second = create(0);
        let known = memory::contexts();
        assert_eq!(known.len(), 2);
        alloc(4 * MIB);
        go();
        alloc(2 * MIB);
        assert_eq!(memory::blocks().len(), 3);
        let context = known.iter().find(|context| context.handle() == second);
        let context = Arc::clone(context.unwrap());
        // SAFETY: no pointers.
        ok(unsafe { cuCtxDestroy_v2(second) });
        assert!(context.push().is_none());
        assert_eq!((memory::blocks().len(), memory::contexts().len()), (1, 1));
        set_current(first);
        assert_eq!(free_bytes(), before);
        ok(free(stays));
    });
}

#[test]
fn a_primary_context_goes_with_its_last_reference() {
    over_stub(
        "contexts::a_primary_context_goes_with_its_last_reference",
        "",
        || {
            primary(0);
            primary(0);
            let at = alloc(2 * MIB);
            go();
            let release = || {
                // SAFETY: no pointers.
                ok(unsafe { cuDevicePrimaryCtxRelease_v2(0) });
            };
            release();
            ok(write(at, &pattern(2 * MIB, 1)));
            assert_eq!(memory::blocks().len(), 1);
            release();
            assert!(memory::blocks().is_empty() && memory::contexts().is_empty());
            primary(0);
            alloc(2 * MIB);
            // SAFETY: no pointers.
            ok(unsafe { cuDevicePrimaryCtxReset_v2(0) });
            assert!(memory::blocks().is_empty());
        },
    );
}

#[test]
fn contexts_that_nobody_told_of_are_found() {
    over_stub(
        "contexts::contexts_that_nobody_told_of_are_found",
        "",
        || {
            let mut context = std::ptr::null_mut();
            // SAFETY: this function's variable. By the driver's own way, as the runtime library does.
            ok(unsafe { driver().cuDevicePrimaryCtxRetain(&raw mut context, 0) });
            let known = memory::contexts();
            assert_eq!(known.len(), 1);
            assert_eq!(known[0].handle(), context);
            drop(known[0].push().unwrap());
        },
    );
}

fn access(at: CUdeviceptr, device: CUdevice) -> u64 {
    let (mut flags, location) = (9, read_write(device).location);
    // SAFETY: this function's variables.
    ok(unsafe { driver().cuMemGetAccess(&raw mut flags, &raw const location, at) });
    flags
}

#[test]
fn devices_that_can_reach_each_others_memory_do() {
    over_stub(
        "contexts::devices_that_can_reach_each_others_memory_do",
        "devices=2",
        || {
            let owner = primary(0);
            let at = alloc(4 * MIB);
            let user = primary(1);
            let reach = || (access(at, 0), access(at, 1));
            let both = u64::from(CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
            assert_eq!(reach(), (both, both));
            set_current(user);
            ok(write(at, &pattern(4 * MIB, 6)));
            go();
            assert_eq!(reach(), (both, both));
            set_current(owner);
            assert!(read(at, 4 * MIB) == pattern(4 * MIB, 6));
        },
    );
}

#[test]
fn a_context_that_goes_by_a_way_of_the_drivers_own_is_noticed() {
    let name = "contexts::a_context_that_goes_by_a_way_of_the_drivers_own_is_noticed";
    over_stub(name, "", || {
        primary(0);
        let before = free_bytes();
        alloc(4 * MIB);
        // SAFETY: no pointers. As the runtime library does.
        ok(unsafe { driver().cuDevicePrimaryCtxReset_v2(0) });
        let first = primary(0);
        assert_eq!(memory::contexts().len(), 1);
        assert!(memory::blocks().is_empty());
        create(0);
        let (moved, plain) = (alloc(2 * MIB), alloc(4 * MIB));
        go();
        assert_eq!(memory::blocks().len(), 2);
        free(plain);
        let mut context = std::ptr::null_mut();
        // SAFETY: this function's variable.
        unsafe {
            ok(driver().cuCtxGetCurrent(&raw mut context));
            ok(driver().cuCtxDestroy_v2(context));
        }
        set_current(first);
        assert_ne!(moved, 0);
        assert_eq!(memory::contexts().len(), 1);
        assert!(memory::blocks().is_empty());
        assert_eq!(free_bytes(), before);
    });
}
