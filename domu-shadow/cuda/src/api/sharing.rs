//! What other processes and other APIs know.
//!
//! A process that lets others have its memory moves: whoever has opened it does not, and keeps the guest from moving.

use std::ffi::{c_uint, c_void};

use crate::abi::*;
use crate::core::counted::Held;
use crate::core::current;
use crate::core::entry::own;
use crate::core::ipc::handle::Handle;
use crate::core::ipc::{exporter, importer};
use crate::core::obstacles::{EXTERNAL_MEMORY, EXTERNAL_SEMAPHORE, IPC_EVENT, IPC_MEMORY};
use crate::core::state::state;
use crate::driver::functions::driver;
use crate::driver::vm::{Answer, check};

/// The program gives something back that kept the process from moving.
pub(super) fn end(name: (Held, u64), end: impl FnOnce() -> CUresult) -> Answer<()> {
    let held = state().counted.held.remove(name);
    check(end()).inspect_err(|_| {
        if let Some((context, hold)) = held {
            state().counted.held.add(name, context, hold);
        }
    })
}

fn open_memory(
    at: *mut CUdeviceptr,
    handle: CUipcMemHandle,
    flags: c_uint,
    open: impl FnOnce() -> CUresult,
) -> Answer<()> {
    if let Some(handle) = Handle::parse(&handle.0) {
        if at.is_null() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        unsafe { at.write(importer::open(&handle, flags)?) };
        return Ok(());
    }
    let hold = IPC_MEMORY.hold();
    check(open())?;
    let name = (Held::IpcMemory, unsafe { at.read() });
    state().counted.held.add(name, current::handle(), hold);
    Ok(())
}

fn end_event(event: CUevent, destroy: impl FnOnce() -> CUresult) -> Answer<()> {
    if IPC_EVENT.blocks().is_none() {
        return check(destroy());
    }
    end((Held::IpcEvent, event as u64), destroy)
}

own! {
    fn cuIpcGetMemHandle(handle: *mut CUipcMemHandle, at: CUdeviceptr) contents {
        match exporter::give(at) {
            Some(_) if handle.is_null() => Err(CUDA_ERROR_INVALID_VALUE),
            Some(given) => {
                unsafe { handle.write(given?) };
                Ok(())
            }
            None => check(unsafe { driver().cuIpcGetMemHandle(handle, at) }),
        }
    }

    fn cuIpcOpenMemHandle(at: *mut CUdeviceptr, handle: CUipcMemHandle, flags: c_uint) driver {
        open_memory(at, handle, flags, || unsafe { driver().cuIpcOpenMemHandle(at, handle, flags) })
    }

    fn cuIpcOpenMemHandle_v2(at: *mut CUdeviceptr, handle: CUipcMemHandle, flags: c_uint) driver {
        open_memory(at, handle, flags, || unsafe { driver().cuIpcOpenMemHandle_v2(at, handle, flags) })
    }

    fn cuIpcCloseMemHandle(at: CUdeviceptr) driver {
        if let Some(closed) = importer::close(at) {
            return closed;
        }
        end((Held::IpcMemory, at), || unsafe { driver().cuIpcCloseMemHandle(at) })
    }

    fn cuIpcOpenEventHandle(event: *mut CUevent, handle: CUipcEventHandle) driver {
        let hold = IPC_EVENT.hold();
        check(unsafe { driver().cuIpcOpenEventHandle(event, handle) })?;
        let name = (Held::IpcEvent, unsafe { event.read() } as u64);
        state().counted.held.add(name, current::handle(), hold);
        Ok(())
    }

    fn cuEventDestroy(event: CUevent) driver {
        end_event(event, || unsafe { driver().cuEventDestroy(event) })
    }

    fn cuEventDestroy_v2(event: CUevent) driver {
        end_event(event, || unsafe { driver().cuEventDestroy_v2(event) })
    }

    fn cuImportExternalMemory(memory: *mut CUexternalMemory, descriptor: *const c_void) driver {
        let hold = EXTERNAL_MEMORY.hold();
        check(unsafe { driver().cuImportExternalMemory(memory, descriptor) })?;
        let name = (Held::ExternalMemory, unsafe { memory.read() } as u64);
        state().counted.held.add(name, current::handle(), hold);
        Ok(())
    }

    fn cuDestroyExternalMemory(memory: CUexternalMemory) driver {
        end((Held::ExternalMemory, memory as u64), || unsafe {
            driver().cuDestroyExternalMemory(memory)
        })
    }

    fn cuImportExternalSemaphore(
        semaphore: *mut CUexternalSemaphore,
        descriptor: *const c_void,
    ) driver {
        let hold = EXTERNAL_SEMAPHORE.hold();
        check(unsafe { driver().cuImportExternalSemaphore(semaphore, descriptor) })?;
        let name = (Held::ExternalSemaphore, unsafe { semaphore.read() } as u64);
        state().counted.held.add(name, current::handle(), hold);
        Ok(())
    }

    fn cuDestroyExternalSemaphore(semaphore: CUexternalSemaphore) driver {
        end((Held::ExternalSemaphore, semaphore as u64), || unsafe {
            driver().cuDestroyExternalSemaphore(semaphore)
        })
    }
}
