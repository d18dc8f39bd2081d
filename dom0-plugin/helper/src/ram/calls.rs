//! libxenctrl's and libxenguest's functions that look at a guest's memory.
//!
//! `unsafe`: they are C functions, found in the process, with the prototypes of the versions in
//! [`Version::FIRST`](xen_bindings::guest::Version::FIRST) to `LAST`; [`Calls::get`] finds none beside any other.

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::io;
use std::mem::transmute;
use std::sync::OnceLock;

use xen_bindings::guest::DomainMeminfo;

use super::page::BATCH;
use crate::originals;

type NrGpfns = unsafe extern "C" fn(usize, u32, *mut u64) -> c_int;
type HvmGetcontext = unsafe extern "C" fn(usize, u32, *mut u8, u32) -> c_int;
type GetPfnTypeBatch = unsafe extern "C" fn(usize, u32, c_uint, *mut u64) -> c_int;
type MapMeminfo = unsafe extern "C" fn(usize, u32, *mut DomainMeminfo) -> c_int;
type UnmapMeminfo = unsafe extern "C" fn(usize, *mut DomainMeminfo) -> c_int;

/// The functions; all of them or none.
#[derive(Debug)]
pub struct Calls {
    nr_gpfns: NrGpfns,
    hvm_getcontext: HvmGetcontext,
    get_pfn_type_batch: GetPfnTypeBatch,
    map_meminfo: MapMeminfo,
    unmap_meminfo: UnmapMeminfo,
}

impl Calls {
    /// `None` where one is missing or their prototypes are not known.
    pub fn get() -> Option<&'static Calls> {
        static CALLS: OnceLock<Option<Calls>> = OnceLock::new();
        CALLS
            .get_or_init(|| {
                originals::get()?; // a known version
                // SAFETY: these are the addresses of the functions of those names in libraries of a version in which
                // they have these prototypes (`xenctrl.h`, `xenguest.h`, `xc_private.h` for the types).
                unsafe {
                    Some(Calls {
                        nr_gpfns: transmute::<*mut c_void, NrGpfns>(find(c"xc_domain_nr_gpfns")?),
                        hvm_getcontext: transmute::<*mut c_void, HvmGetcontext>(find(
                            c"xc_domain_hvm_getcontext",
                        )?),
                        get_pfn_type_batch: transmute::<*mut c_void, GetPfnTypeBatch>(find(
                            c"xc_get_pfn_type_batch",
                        )?),
                        map_meminfo: transmute::<*mut c_void, MapMeminfo>(find(
                            c"xc_map_domain_meminfo",
                        )?),
                        unmap_meminfo: transmute::<*mut c_void, UnmapMeminfo>(find(
                            c"xc_unmap_domain_meminfo",
                        )?),
                    })
                }
            })
            .as_ref()
    }

    /// Whether Xen has an HVM context of the domain, which PVH ones have too: asks for its size only.
    pub fn is_hvm(&self, xch: usize, domid: u32) -> bool {
        // SAFETY: no buffer is given; the handle is the one libxc works with now.
        unsafe { (self.hvm_getcontext)(xch, domid, std::ptr::null_mut(), 0) > 0 }
    }

    /// One more than the domain's highest page.
    pub fn nr_gpfns(&self, xch: usize, domid: u32) -> io::Result<usize> {
        let mut pages = 0;
        // SAFETY: the handle is the one libxc works with now; it writes one number.
        match unsafe { (self.nr_gpfns)(xch, domid, &raw mut pages) } {
            0 => Ok(pages as usize),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Types in place of frames, [`BATCH`] at most.
    pub fn types(&self, xch: usize, domid: u32, frames: &mut [u64]) -> io::Result<()> {
        assert!(frames.len() <= BATCH, "Xen's limit");
        // SAFETY: the array has so many elements; the handle may be used by several threads.
        match unsafe {
            (self.get_pfn_type_batch)(xch, domid, frames.len() as c_uint, frames.as_mut_ptr())
        } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The p2m table of a paravirtual guest, and the types of all its pages.
    pub fn map_meminfo(&'static self, xch: usize, domid: u32) -> io::Result<Meminfo> {
        let mut info = DomainMeminfo {
            pt_levels: 0,
            guest_width: 0,
            pfn_type: std::ptr::null_mut(),
            p2m_table: std::ptr::null_mut(),
            p2m_size: 0,
            rest: [0; 8],
        };
        // SAFETY: the struct has room for every known version's.
        match unsafe { (self.map_meminfo)(xch, domid, &raw mut info) } {
            0 => Ok(Meminfo {
                calls: self,
                xch,
                info,
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn find(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a NUL-terminated name.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

/// A mapped p2m table.
#[derive(Debug)]
pub struct Meminfo {
    calls: &'static Calls,
    xch: usize,
    info: DomainMeminfo,
}

// SAFETY: plain memory that lives as long as this value: the types are written no more, and the guest's table is read in
// single words. libxc's handle is used by `drop` only, and may be by any thread.
unsafe impl Send for Meminfo {}
// SAFETY: as above.
unsafe impl Sync for Meminfo {}

impl Meminfo {
    /// Pages in the table.
    pub fn len(&self) -> usize {
        self.info.p2m_size as usize
    }

    /// The type of a page when the table was mapped.
    pub fn kind(&self, pfn: usize) -> u64 {
        assert!(pfn < self.len());
        // SAFETY: libxenguest has made the array for p2m_size pages.
        unsafe { *self.info.pfn_type.add(pfn) }
    }

    /// The machine frame of a page; `None` where the guest has none there.
    pub fn frame(&self, pfn: usize) -> Option<u64> {
        assert!(pfn < self.len());
        // SAFETY: libxenguest has mapped p2m_size entries of guest_width bytes; the guest may write them at any time.
        unsafe {
            match self.info.guest_width {
                8 => Some(self.info.p2m_table.cast::<u64>().add(pfn).read_volatile())
                    .filter(|f| *f != u64::MAX),
                _ => Some(self.info.p2m_table.cast::<u32>().add(pfn).read_volatile())
                    .filter(|f| *f != u32::MAX)
                    .map(u64::from),
            }
        }
    }
}

impl Drop for Meminfo {
    fn drop(&mut self) {
        // SAFETY: filled by `map_meminfo`, and not used again.
        unsafe { (self.calls.unmap_meminfo)(self.xch, &raw mut self.info) };
    }
}
