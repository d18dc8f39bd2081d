//! Pinned host memory: the more there is, the longer the driver's checkpoint takes.

use std::ffi::{c_uint, c_void};

use crate::abi::*;
use crate::core::current;
use crate::core::entry::own;
use crate::core::state::state;
use crate::driver::functions::driver;
use crate::driver::vm::{Answer, check};

fn made(at: *mut c_void, bytes: usize) {
    let context = current::handle();
    state().counted.host.add(at as u64, context, bytes as u64);
}

fn end(at: *mut c_void, end: impl FnOnce() -> CUresult) -> Answer<()> {
    let counted = state().counted.host.remove(at as u64);
    check(end()).inspect_err(|_| {
        if let Some(counted) = counted {
            state().counted.host.put_back(at as u64, counted);
        }
    })
}

own! {
    fn cuMemAllocHost(at: *mut *mut c_void, bytes: c_uint) driver {
        check(unsafe { driver().cuMemAllocHost(at, bytes) })?;
        made(unsafe { at.read() }, bytes as usize);
        Ok(())
    }

    fn cuMemAllocHost_v2(at: *mut *mut c_void, bytes: usize) driver {
        check(unsafe { driver().cuMemAllocHost_v2(at, bytes) })?;
        made(unsafe { at.read() }, bytes);
        Ok(())
    }

    fn cuMemHostAlloc(at: *mut *mut c_void, bytes: usize, flags: c_uint) driver {
        check(unsafe { driver().cuMemHostAlloc(at, bytes, flags) })?;
        made(unsafe { at.read() }, bytes);
        Ok(())
    }

    fn cuMemFreeHost(at: *mut c_void) driver {
        end(at, || unsafe { driver().cuMemFreeHost(at) })
    }

    fn cuMemHostRegister(at: *mut c_void, bytes: usize, flags: c_uint) driver {
        check(unsafe { driver().cuMemHostRegister(at, bytes, flags) })?;
        made(at, bytes);
        Ok(())
    }

    fn cuMemHostRegister_v2(at: *mut c_void, bytes: usize, flags: c_uint) driver {
        check(unsafe { driver().cuMemHostRegister_v2(at, bytes, flags) })?;
        made(at, bytes);
        Ok(())
    }

    fn cuMemHostUnregister(at: *mut c_void) driver {
        end(at, || unsafe { driver().cuMemHostUnregister(at) })
    }
}
