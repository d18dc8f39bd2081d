//! Gives memory of this process to others.
//!
//! A thread answers those that open it. It calls the driver as the program does: not while a move is under way.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::time::Duration;
use std::{io, thread};

use runtime::gate::Inside;
use runtime::locks::{self, lock};
use runtime::process_exit;
use runtime::thread::with_all_signals_blocked;

use super::handle::{Exporter, Handle};
use super::socket::{Listener, Request};
use crate::abi::*;
use crate::core::entry::{Need, enter};
use crate::core::ordinary::{Backing, Kind};
use crate::core::state::state;
use crate::driver::vm::{Answer, Real};

/// This process, or the one that forked it: a child has no thread that answers.
static EXPORTER: Mutex<Option<Exporter>> = Mutex::new(None);

/// The lock, for a fork.
pub fn hold() -> Option<impl Sized> {
    locks::try_lock(&EXPORTER)
}

/// Whether this process gave a handle.
pub fn is_ours(handle: &Handle) -> bool {
    *lock(&EXPORTER) == Some(handle.exporter)
}

/// A handle of the memory of ours around `at`, whole. `None`: it is the driver's.
pub fn give(at: CUdeviceptr) -> Option<Answer<CUipcMemHandle>> {
    let mut state = state();
    let (base, allocation, ordinary) = state.allocations.ordinary_around(at)?;
    let (Kind::Moving(_), Backing::Mapped(memory)) = (&allocation.kind, ordinary.backing) else {
        return Some(Err(CUDA_ERROR_INVALID_VALUE));
    };
    // Once before, so that the program hears what speaks against it.
    if !ordinary.is_shared
        && let Err(code) = Real.export(memory)
    {
        return Some(Err(code));
    }
    let exporter = match answering() {
        Ok(exporter) => exporter,
        Err(error) => {
            log::error!("other processes cannot ask for memory of this one: {error}");
            return Some(Err(CUDA_ERROR_OPERATING_SYSTEM));
        }
    };
    let handle = Handle {
        exporter,
        at: base,
        block: ordinary.block.id().into(),
        asked: allocation.asked as u64,
    };
    state.allocations.share(base);
    Some(Ok(handle.into()))
}

/// This process, with a thread that answers.
fn answering() -> io::Result<Exporter> {
    let mut known = lock(&EXPORTER);
    let of_this = known.filter(|exporter| exporter.process == std::process::id());
    if let Some(exporter) = of_this {
        return Ok(exporter);
    }
    let exporter = Exporter::new()?;
    let listener = Listener::new(&exporter.socket())?;
    let thread = thread::Builder::new().name("xl-gpu-cuda-ipc".to_owned());
    with_all_signals_blocked(|| thread.spawn(move || serve(&listener, exporter)))?;
    *known = Some(exporter);
    Ok(exporter)
}

fn serve(listener: &Listener, exporter: Exporter) {
    loop {
        match listener.next() {
            Ok(request) => {
                if let Err(error) = answer(&request, exporter) {
                    log::debug!("a process that asked for memory did not get it: {error}");
                }
            }
            // The program has closed all its descriptors.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOTSOCK)) => {
                log::warn!("no process gets memory of this one any more: {error}");
                let mut known = lock(&EXPORTER);
                *known = known.filter(|it| *it != exporter);
                return;
            }
            Err(error) => {
                log::warn!("a request for memory of this process: {error}");
                // It may be one that comes again at once: no descriptor is free, say.
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn answer(request: &Request, exporter: Exporter) -> io::Result<()> {
    let handle = Handle::parse(&request.bytes);
    let Some(handle) = handle.filter(|handle| handle.exporter == exporter) else {
        return request.refuse();
    };
    request.heard()?;
    // Inside until the other one has it: this process is not on its way then.
    match export(&handle) {
        Some((_inside, descriptor)) => request.give(descriptor.as_fd()),
        None => request.refuse(),
    }
}

/// A descriptor of an allocation that others may have. `None`: it is no more, or the process exits.
fn export(handle: &Handle) -> Option<(Inside, OwnedFd)> {
    let inside = enter(Need::Driver).ok()?;
    if process_exit::is_under_way() {
        return None;
    }
    let state = state();
    let allocation = state.allocations.get(handle.at)?;
    let ordinary = allocation.ordinary()?;
    let is_it = ordinary.is_shared
        && u64::from(ordinary.block.id()) == handle.block
        && allocation.asked as u64 == handle.asked;
    match ordinary.backing {
        Backing::Mapped(memory) if is_it => match Real.export(memory) {
            Ok(descriptor) => Some((inside, descriptor)),
            Err(code) => {
                log::warn!("memory for another process: CUDA error {code}");
                None
            }
        },
        _ => None,
    }
}
