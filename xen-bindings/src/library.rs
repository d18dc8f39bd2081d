//! Opens each C library once, at first use, and keeps it for the life of the process: libxenstore may have a thread
//! running in it, so it must never be unloaded.

use std::sync::OnceLock;

use crate::error::LibraryError;
use crate::sys;

static GNTTAB: OnceLock<sys::gnttab::Api> = OnceLock::new();
static EVTCHN: OnceLock<sys::evtchn::Api> = OnceLock::new();
static FOREIGNMEMORY: OnceLock<sys::foreignmemory::Api> = OnceLock::new();
static DEVICEMODEL: OnceLock<sys::devicemodel::Api> = OnceLock::new();
static STORE: OnceLock<sys::store::Api> = OnceLock::new();

pub(crate) fn gnttab() -> Result<&'static sys::gnttab::Api, LibraryError> {
    // SAFETY: the symbols have the prototypes of xengnttab.h, whose ABI is stable within the SONAME.
    open(&GNTTAB, &["libxengnttab.so.1"], |l| unsafe {
        sys::gnttab::Api::from_library(l)
    })
}

pub(crate) fn evtchn() -> Result<&'static sys::evtchn::Api, LibraryError> {
    // SAFETY: the symbols have the prototypes of xenevtchn.h, whose ABI is stable within the SONAME.
    open(&EVTCHN, &["libxenevtchn.so.1"], |l| unsafe {
        sys::evtchn::Api::from_library(l)
    })
}

pub(crate) fn foreignmemory() -> Result<&'static sys::foreignmemory::Api, LibraryError> {
    // SAFETY: the symbols have the prototypes of xenforeignmemory.h, whose ABI is stable within the SONAME.
    open(&FOREIGNMEMORY, &["libxenforeignmemory.so.1"], |l| unsafe {
        sys::foreignmemory::Api::from_library(l)
    })
}

pub(crate) fn devicemodel() -> Result<&'static sys::devicemodel::Api, LibraryError> {
    // SAFETY: the symbols have the prototypes of xendevicemodel.h, whose ABI is stable within the SONAME.
    open(&DEVICEMODEL, &["libxendevicemodel.so.1"], |l| unsafe {
        sys::devicemodel::Api::from_library(l)
    })
}

pub(crate) fn store() -> Result<&'static sys::store::Api, LibraryError> {
    // Up to Xen 4.15 the SONAME was 3.0; the functions used here are the same in both.
    // SAFETY: the symbols have the prototypes of xenstore.h, whose ABI is stable within the SONAME.
    open(
        &STORE,
        &["libxenstore.so.4", "libxenstore.so.3.0"],
        |l| unsafe { sys::store::Api::from_library(l) },
    )
}

/// A failure is not remembered: the package may be installed while a daemon runs.
fn open<A>(
    slot: &'static OnceLock<A>,
    names: &[&'static str],
    load: impl Fn(libloading::Library) -> Result<A, libloading::Error>,
) -> Result<&'static A, LibraryError> {
    if let Some(api) = slot.get() {
        return Ok(api);
    }
    let mut failure = None;
    for &library in names {
        // SAFETY: Xen's libraries have no constructors with preconditions.
        match unsafe { libloading::Library::new(library) }.and_then(&load) {
            Ok(api) => return Ok(slot.get_or_init(|| api)),
            Err(source) => failure = failure.or(Some(LibraryError { library, source })),
        }
    }
    Err(failure.expect("at least one name is tried"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_named() {
        static SLOT: OnceLock<()> = OnceLock::new();
        let error = open(&SLOT, &["libxl-gpu-no-such-library.so.9"], |_| Ok(())).unwrap_err();
        assert_eq!(error.library, "libxl-gpu-no-such-library.so.9");
        assert!(
            error.to_string().contains("libxl-gpu-no-such-library.so.9"),
            "{error}"
        );
    }

    #[test]
    fn the_first_name_is_the_one_reported() {
        static SLOT: OnceLock<()> = OnceLock::new();
        let error = open(&SLOT, &["libxl-gpu-a.so.1", "libxl-gpu-b.so.1"], |_| Ok(())).unwrap_err();
        assert_eq!(error.library, "libxl-gpu-a.so.1");
    }

    #[test]
    fn a_later_name_serves() {
        static SLOT: OnceLock<()> = OnceLock::new();
        open(&SLOT, &["libxl-gpu-a.so.1", "libc.so.6"], |_| Ok(())).unwrap();
    }
}
