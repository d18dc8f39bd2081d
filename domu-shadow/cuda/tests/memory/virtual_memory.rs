//! Memory of `cuMemCreate`.

use xl_gpu_cuda::abi::*;
use xl_gpu_cuda::api::virtual_memory::{
    cuMemAddressFree, cuMemCreate, cuMemExportToShareableHandle,
    cuMemGetAllocationPropertiesFromHandle, cuMemImportFromShareableHandle, cuMemMap, cuMemRelease,
    cuMemRetainAllocationHandle, cuMemSetAccess, cuMemUnmap,
};
use xl_gpu_cuda::core::vmm::is_token;
use xl_gpu_cuda::core::{memory, obstacles};
use xl_gpu_cuda::driver::functions::driver;
use xl_gpu_cuda::driver::vm::read_write;

use super::program::{
    MIB, attributes, free, free_bytes, go, ok, over_stub, pattern, primary, range, read, write,
};

fn properties(handle_types: u32) -> CUmemAllocationProp {
    CUmemAllocationProp {
        kind: CU_MEM_ALLOCATION_TYPE_PINNED,
        requested_handle_types: handle_types,
        location: read_write(0).location,
        ..CUmemAllocationProp::default()
    }
}

pub fn create(bytes: usize, handle_types: u32) -> u64 {
    let (mut handle, properties) = (0, properties(handle_types));
    // SAFETY: this function's variables.
    ok(unsafe { cuMemCreate(&raw mut handle, bytes, &raw const properties, 0) });
    handle
}

pub fn reserve(bytes: usize) -> CUdeviceptr {
    let mut at = 0;
    // SAFETY: this function's variable.
    ok(unsafe { driver().cuMemAddressReserve(&raw mut at, bytes, 0, 0, 0) });
    at
}

pub fn map(at: CUdeviceptr, bytes: usize, handle: u64) {
    // SAFETY: no pointers.
    ok(unsafe { cuMemMap(at, bytes, 0, handle, 0) });
}

pub fn set_access(at: CUdeviceptr, bytes: usize, flags: u32) {
    let access = CUmemAccessDesc {
        flags,
        ..read_write(0)
    };
    // SAFETY: this function's variable.
    ok(unsafe { cuMemSetAccess(at, bytes, &raw const access, 1) });
}

fn access(at: CUdeviceptr) -> u64 {
    let (mut flags, location) = (9, read_write(0).location);
    // SAFETY: this function's variables.
    ok(unsafe { driver().cuMemGetAccess(&raw mut flags, &raw const location, at) });
    flags
}

pub fn unmap(at: CUdeviceptr, bytes: usize) -> CUresult {
    // SAFETY: no pointers.
    unsafe { cuMemUnmap(at, bytes) }
}

pub fn release(handle: u64) -> CUresult {
    // SAFETY: no pointers.
    unsafe { cuMemRelease(handle) }
}

const READ: u32 = CU_MEM_ACCESS_FLAGS_PROT_READ;
pub const BOTH: u32 = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;

#[test]
fn mappings_handles_and_access_stay() {
    over_stub(
        "virtual_memory::mappings_handles_and_access_stay",
        "",
        || {
            primary(0);
            let before = free_bytes();
            let handle = create(4 * MIB, 0);
            assert!(is_token(handle));
            let at = reserve(16 * MIB);
            let (second, third) = (at + (4 << 20), at + (8 << 20));
            map(at, 4 * MIB, handle);
            map(second, 4 * MIB, handle);
            set_access(at, 4 * MIB, BOTH);
            set_access(second, 4 * MIB, READ);
            let other = create(2 * MIB, 0);
            map(third, 2 * MIB, other);
            ok(write(at, &pattern(4 * MIB, 3)));
            let says =
                || [at, second, third].map(|at| (range(at + 1), attributes(at + 1), access(at)));
            let said = says();
            go();
            go();
            assert_eq!(said, says());
            assert!(
                read(second, 4 * MIB) == pattern(4 * MIB, 3),
                "two mappings of the same memory"
            );
            ok(write(at, &pattern(4 * MIB, 5)));
            assert!(read(second, 4 * MIB) == pattern(4 * MIB, 5));
            set_access(third, 2 * MIB, BOTH);

            let (mut same, mut told) = (0, properties(0));
            told.kind = 0;
            // SAFETY: this function's variables.
            unsafe {
                ok(cuMemRetainAllocationHandle(
                    &raw mut same,
                    (second + 5) as *mut _,
                ));
                assert_eq!(same, handle);
                ok(cuMemGetAllocationPropertiesFromHandle(
                    &raw mut told,
                    handle,
                ));
            }
            assert_eq!(told, properties(0));
            ok(release(handle));
            ok(release(same));
            assert_eq!(release(handle), CUDA_ERROR_INVALID_VALUE);
            // Released, it stays while it is mapped.
            go();
            assert!(read(second, 4 * MIB) == pattern(4 * MIB, 5));
            assert_eq!(unmap(at, 2 * MIB), CUDA_ERROR_INVALID_VALUE);
            ok(unmap(at, 10 * MIB));
            ok(release(other));
            assert_eq!(free(at), CUDA_ERROR_INVALID_VALUE);
            // SAFETY: no pointers.
            ok(unsafe { cuMemAddressFree(at, 16 * MIB) });
            assert!(memory::blocks().is_empty());
            assert_eq!(free_bytes(), before);
        },
    );
}

#[test]
fn memory_that_is_not_mapped_has_contents() {
    over_stub(
        "virtual_memory::memory_that_is_not_mapped_has_contents",
        "",
        || {
            primary(0);
            let handle = create(4 * MIB, 0);
            let block = memory::blocks().pop().unwrap();
            let pinned = block.pin().unwrap();
            ok(write(pinned.address(), &pattern(4 * MIB, 1)));
            drop(pinned);
            go();
            let at = reserve(4 * MIB);
            map(at, 4 * MIB, handle);
            set_access(at, 4 * MIB, READ);
            assert!(read(at, 4 * MIB) == pattern(4 * MIB, 1));
            // Not writable at the program's address: it comes back by ours.
            go();
            assert!(read(at, 4 * MIB) == pattern(4 * MIB, 1));
            assert_ne!(block.pin().unwrap().address(), at);
            set_access(at, 4 * MIB, BOTH);
            assert_eq!(block.pin().unwrap().address(), at);
            ok(unmap(at, 4 * MIB));
            ok(release(handle));
            assert!(block.pin().is_none());
        },
    );
}

#[test]
fn exported_memory_is_left_to_the_driver() {
    over_stub(
        "virtual_memory::exported_memory_is_left_to_the_driver",
        "",
        || {
            primary(0);
            let kind = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
            let handle = create(4 * MIB, kind);
            let at = reserve(4 * MIB);
            map(at, 4 * MIB, handle);
            set_access(at, 4 * MIB, BOTH);
            ok(write(at, &pattern(4 * MIB, 8)));
            go();
            assert_eq!((memory::blocks().len(), memory::left().device), (1, 0));
            let (mut descriptor, mut imported) = (-1_i32, 0);
            let to = (&raw mut descriptor).cast();
            // SAFETY: this function's variable.
            let exported = unsafe { cuMemExportToShareableHandle(to, handle, kind, 0) };
            if exported == CUDA_ERROR_NOT_SUPPORTED {
                return;
            }
            ok(exported);
            assert_eq!(
                (memory::blocks().len(), memory::left().device),
                (0, 4 << 20)
            );
            let from = descriptor as usize as *mut _;
            // SAFETY: this function's variable.
            ok(unsafe { cuMemImportFromShareableHandle(&raw mut imported, from, kind) });
            let blocked = obstacles::blocked().unwrap_or_default();
            assert!(blocked.contains("memory of another process"), "{blocked}");
            go();
            assert!(read(at, 4 * MIB) == pattern(4 * MIB, 8));
            ok(release(imported));
            assert_eq!(obstacles::blocked(), None);
            ok(unmap(at, 4 * MIB));
            ok(release(handle));
            assert_eq!(memory::left().device, 0);
        },
    );
}
