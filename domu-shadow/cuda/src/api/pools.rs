//! Stream-ordered memory: the driver's checkpoint carries it. The two kinds of memory may be freed by either's functions.

use std::ffi::{c_uint, c_void};

use crate::abi::*;
use crate::core::context::Context;
use crate::core::counted::Held;
use crate::core::entry::own;
use crate::core::obstacles::{IMPORTED_POOL, MANAGED_POOL};
use crate::core::room::with_ours;
use crate::core::state::state;
use crate::core::{current, obstacles, pools};
use crate::driver::functions::driver;
use crate::driver::vm::{Answer, Real, Vm, check};

use super::ordinary::{Rest, free};

fn made(at: *mut CUdeviceptr, bytes: usize) {
    let (at, context) = (unsafe { at.read() }, current::handle());
    pools::note_use();
    let mut state = state();
    state.allocations.remove(at);
    state.counted.pooled.add(at, context, bytes as u64);
}

/// The driver takes no memory of ours: it goes once the stream has come to an event of ours.
fn free_in(
    at: CUdeviceptr,
    plain: impl FnOnce() -> CUresult,
    context: impl FnOnce(*mut CUcontext) -> CUresult,
    record: impl FnOnce(CUevent) -> CUresult,
    synchronize: impl FnOnce() -> CUresult,
) -> Answer<()> {
    let rest = |owner: &Context| {
        let mut of_stream = std::ptr::null_mut();
        check(context(&raw mut of_stream))?;
        // An event of another context could go before the memory does.
        if of_stream != owner.handle() {
            check(synchronize())?;
            return Ok(Rest::Now);
        }
        Real.enter(owner.address())?;
        let recorded = (|| {
            let mut event = std::ptr::null_mut();
            check(unsafe { driver().cuEventCreate(&raw mut event, CU_EVENT_DISABLE_TIMING) })?;
            check(record(event)).inspect_err(|_| {
                unsafe { driver().cuEventDestroy_v2(event) };
            })?;
            Ok(Rest::At(event))
        })();
        Real.leave();
        recorded
    };
    free(at, || check(plain()), rest)
}

/// `CUmemPoolProps` begins with the kind of its memory.
fn is_managed(properties: *const c_void) -> bool {
    !properties.is_null()
        && unsafe { properties.cast::<c_uint>().read() } == CU_MEM_ALLOCATION_TYPE_MANAGED
}

/// A pool that is always there.
fn got_pool(kind: c_uint) {
    if kind == CU_MEM_ALLOCATION_TYPE_MANAGED {
        obstacles::keep_for_ever(MANAGED_POOL.hold());
    }
}

own! {
    fn cuMemAllocAsync(at: *mut CUdeviceptr, bytes: usize, stream: CUstream) driver {
        with_ours(|| unsafe { driver().cuMemAllocAsync(at, bytes, stream) })?;
        made(at, bytes);
        Ok(())
    }

    fn cuMemAllocAsync_ptsz(at: *mut CUdeviceptr, bytes: usize, stream: CUstream) driver {
        with_ours(|| unsafe { driver().cuMemAllocAsync_ptsz(at, bytes, stream) })?;
        made(at, bytes);
        Ok(())
    }

    fn cuMemAllocFromPoolAsync(
        at: *mut CUdeviceptr,
        bytes: usize,
        pool: CUmemoryPool,
        stream: CUstream,
    ) driver {
        with_ours(|| unsafe { driver().cuMemAllocFromPoolAsync(at, bytes, pool, stream) })?;
        made(at, bytes);
        Ok(())
    }

    fn cuMemAllocFromPoolAsync_ptsz(
        at: *mut CUdeviceptr,
        bytes: usize,
        pool: CUmemoryPool,
        stream: CUstream,
    ) driver {
        with_ours(|| unsafe { driver().cuMemAllocFromPoolAsync_ptsz(at, bytes, pool, stream) })?;
        made(at, bytes);
        Ok(())
    }

    fn cuMemFreeAsync(at: CUdeviceptr, stream: CUstream) driver {
        free_in(
            at,
            || unsafe { driver().cuMemFreeAsync(at, stream) },
            |context| unsafe { driver().cuStreamGetCtx(stream, context) },
            |event| unsafe { driver().cuEventRecord(event, stream) },
            || unsafe { driver().cuStreamSynchronize(stream) },
        )
    }

    fn cuMemFreeAsync_ptsz(at: CUdeviceptr, stream: CUstream) driver {
        free_in(
            at,
            || unsafe { driver().cuMemFreeAsync_ptsz(at, stream) },
            |context| unsafe { driver().cuStreamGetCtx_ptsz(stream, context) },
            |event| unsafe { driver().cuEventRecord_ptsz(event, stream) },
            || unsafe { driver().cuStreamSynchronize_ptsz(stream) },
        )
    }

    fn cuMemPoolCreate(pool: *mut CUmemoryPool, properties: *const c_void) driver {
        let hold = is_managed(properties).then(|| MANAGED_POOL.hold());
        check(unsafe { driver().cuMemPoolCreate(pool, properties) })?;
        let name = unsafe { pool.read() } as usize;
        let mut state = state();
        state.pools.insert(name);
        if let Some(hold) = hold {
            state.counted.held.add((Held::Pool, name as u64), 0, hold);
        }
        Ok(())
    }

    fn cuMemPoolImportFromShareableHandle(
        pool: *mut CUmemoryPool,
        handle: *mut c_void,
        kind: c_uint,
        flags: u64,
    ) driver {
        let hold = IMPORTED_POOL.hold();
        check(unsafe { driver().cuMemPoolImportFromShareableHandle(pool, handle, kind, flags) })?;
        let name = (Held::Pool, unsafe { pool.read() } as u64);
        state().counted.held.add(name, 0, hold);
        Ok(())
    }

    /// Another process has the memory, too.
    fn cuMemPoolImportPointer(at: *mut CUdeviceptr, pool: CUmemoryPool, data: *mut c_void) driver {
        let hold = IMPORTED_POOL.hold();
        check(unsafe { driver().cuMemPoolImportPointer(at, pool, data) })?;
        let name = (Held::PoolMemory, unsafe { at.read() });
        state().counted.held.add(name, current::handle(), hold);
        Ok(())
    }

    fn cuMemPoolDestroy(pool: CUmemoryPool) driver {
        state().pools.remove(&(pool as usize));
        super::sharing::end((Held::Pool, pool as u64), || unsafe {
            driver().cuMemPoolDestroy(pool)
        })
    }

    fn cuMemGetDefaultMemPool(
        pool: *mut CUmemoryPool,
        location: *mut CUmemLocation,
        kind: c_uint,
    ) driver {
        check(unsafe { driver().cuMemGetDefaultMemPool(pool, location, kind) })?;
        got_pool(kind);
        Ok(())
    }

    fn cuMemGetMemPool(
        pool: *mut CUmemoryPool,
        location: *mut CUmemLocation,
        kind: c_uint,
    ) driver {
        check(unsafe { driver().cuMemGetMemPool(pool, location, kind) })?;
        got_pool(kind);
        Ok(())
    }
}
