//! Types of `xenguest.h` and the versions of libxenguest whose prototypes are known.
//!
//! libxenguest has no stable ABI: its SONAME carries Xen's version. What differs between the versions in
//! [`Version::FIRST`] to [`Version::LAST`] (read in Xen's stable branches):
//!
//! | | up to | from |
//! |---|---|---|
//! | `struct precopy_stats`, passed by value | 4.14: 16 bytes (`total_written` is an `unsigned int`) | 4.15: 24 bytes |
//! | `xc_shadow_control` | 4.15: 8 parameters | 4.16: 5 parameters, and `xc_logdirty_control` |
//! | `xc_domain_restore` | 4.21: 12 parameters | 4.22: 13, a trailing `unsigned memflags` |
//!
//! | `struct xc_domain_meminfo` | 4.15: 5 members | 4.16: `p2m_frames` behind them |
//!
//! `xc_domain_save`, `struct save_callbacks`, `struct restore_callbacks`, `xc_get_pfn_type_batch`, `xc_domain_nr_gpfns`,
//! `xc_domain_hvm_getcontext`, `xc_(un)map_domain_meminfo` and `xc__hypercall_buffer_(alloc|free)_pages` are the same in
//! all of them.

use std::ffi::{c_int, c_long, c_uint, c_ulong, c_void};
use std::fmt;

pub use crate::sys::guest::{
    XCFLAGS_LIVE, XEN_DOMCTL_PFINFO_LTAB_MASK, XEN_DOMCTL_PFINFO_NOTAB, XEN_DOMCTL_PFINFO_XTAB,
    XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, XEN_DOMCTL_SHADOW_OP_OFF, XGS_POLICY_ABORT,
    XGS_POLICY_CONTINUE_PRECOPY, XGS_POLICY_STOP_AND_COPY, restore_callbacks, xc_stream_type_t,
    xentoollog_level,
};

/// `struct precopy_stats` from Xen 4.15.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrecopyStats {
    /// Rounds of memory sent so far.
    pub iteration: c_uint,
    /// Pages sent so far.
    pub total_written: c_ulong,
    /// Pages to send now, -1 when not known (after a round, before the bitmap is read).
    pub dirty_count: c_long,
}

/// `struct precopy_stats` up to Xen 4.14.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrecopyStats414 {
    pub iteration: c_uint,
    pub total_written: c_uint,
    pub dirty_count: c_long,
}

impl From<PrecopyStats414> for PrecopyStats {
    fn from(s: PrecopyStats414) -> Self {
        Self {
            iteration: s.iteration,
            total_written: s.total_written.into(),
            dirty_count: s.dirty_count,
        }
    }
}

const _: () = assert!(size_of::<PrecopyStats414>() == 16 && size_of::<PrecopyStats>() == 24);

/// `precopy_policy_t` from Xen 4.15.
pub type PrecopyPolicy = unsafe extern "C" fn(PrecopyStats, *mut c_void) -> c_int;
/// `precopy_policy_t` up to Xen 4.14.
pub type PrecopyPolicy414 = unsafe extern "C" fn(PrecopyStats414, *mut c_void) -> c_int;
/// `suspend`, `postcopy`, `checkpoint` and `wait_checkpoint`.
pub type Callback = unsafe extern "C" fn(*mut c_void) -> c_int;
/// `switch_qemu_logdirty`
pub type SwitchQemuLogdirty = unsafe extern "C" fn(u32, c_uint, *mut c_void) -> c_int;

/// `struct save_callbacks`, with the precopy policy untyped because its signature depends on the version.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SaveCallbacks {
    pub suspend: Option<Callback>,
    /// A [`PrecopyPolicy`] or [`PrecopyPolicy414`], or NULL for libxc's own policy.
    pub precopy_policy: *mut c_void,
    pub postcopy: Option<Callback>,
    pub checkpoint: Option<Callback>,
    pub wait_checkpoint: Option<Callback>,
    pub switch_qemu_logdirty: Option<SwitchQemuLogdirty>,
    /// Last argument of each callback.
    pub data: *mut c_void,
}

// The hand-written struct against the one in the header of the build machine.
const _: () = {
    use crate::sys::guest::save_callbacks as c;
    use std::mem::offset_of;
    assert!(size_of::<SaveCallbacks>() == size_of::<c>());
    assert!(offset_of!(SaveCallbacks, suspend) == offset_of!(c, suspend));
    assert!(offset_of!(SaveCallbacks, precopy_policy) == offset_of!(c, precopy_policy));
    assert!(offset_of!(SaveCallbacks, postcopy) == offset_of!(c, postcopy));
    assert!(offset_of!(SaveCallbacks, checkpoint) == offset_of!(c, checkpoint));
    assert!(offset_of!(SaveCallbacks, wait_checkpoint) == offset_of!(c, wait_checkpoint));
    assert!(offset_of!(SaveCallbacks, switch_qemu_logdirty) == offset_of!(c, switch_qemu_logdirty));
    assert!(offset_of!(SaveCallbacks, data) == offset_of!(c, data));
};

/// `struct xc_domain_meminfo`: the p2m table of a paravirtual guest. `xc_map_domain_meminfo` fills it, and takes one in
/// which the pointers are NULL.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DomainMeminfo {
    pub pt_levels: c_uint,
    /// Bytes of a p2m entry: 4 or 8.
    pub guest_width: c_uint,
    /// `XEN_DOMCTL_PFINFO_*` of each pfn, in the library's own memory.
    pub pfn_type: *mut u64,
    /// The guest's table, mapped: it may change at any time.
    pub p2m_table: *mut c_void,
    /// Entries of both.
    pub p2m_size: c_ulong,
    /// `p2m_frames` of Xen 4.16, and room for what comes.
    pub rest: [c_ulong; 8],
}

const _: () = {
    use crate::sys::guest::xc_domain_meminfo as c;
    use std::mem::offset_of;
    assert!(size_of::<DomainMeminfo>() >= size_of::<c>());
    assert!(offset_of!(DomainMeminfo, guest_width) == offset_of!(c, guest_width));
    assert!(offset_of!(DomainMeminfo, pfn_type) == offset_of!(c, pfn_type));
    assert!(offset_of!(DomainMeminfo, p2m_table) == offset_of!(c, p2m_table));
    assert!(offset_of!(DomainMeminfo, p2m_size) == offset_of!(c, p2m_size));
};

/// A version of Xen, as libxenguest's SONAME carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u16,
    pub minor: u16,
}

impl Version {
    /// Oldest version whose prototypes are known.
    pub const FIRST: Version = Version {
        major: 4,
        minor: 14,
    };
    /// Newest version whose prototypes are known.
    pub const LAST: Version = Version {
        major: 4,
        minor: 22,
    };

    /// Out of a library's path: `/usr/lib/x86_64-linux-gnu/libxenguest.so.4.17` (or `….4.17.0`) gives 4.17.
    pub fn from_library_path(path: &str) -> Option<Version> {
        let name = path.rsplit('/').next()?;
        let mut numbers = name.strip_prefix("libxenguest.so.")?.split('.');
        Some(Version {
            major: numbers.next()?.parse().ok()?,
            minor: numbers.next()?.parse().ok()?,
        })
    }

    /// True when the prototypes of this version are known.
    pub fn is_known(self) -> bool {
        (Self::FIRST..=Self::LAST).contains(&self)
    }

    /// The precopy policy gets a [`PrecopyStats414`].
    pub fn has_short_precopy_stats(self) -> bool {
        self.minor <= 14
    }

    /// `xc_domain_restore` has a trailing `memflags`.
    pub fn has_restore_memflags(self) -> bool {
        self.minor >= 22
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_from_path() {
        let version = Version::from_library_path;
        assert_eq!(
            version("/usr/lib/x86_64-linux-gnu/libxenguest.so.4.17"),
            Some(Version {
                major: 4,
                minor: 17
            })
        );
        assert_eq!(
            version("libxenguest.so.4.22.0"),
            Some(Version {
                major: 4,
                minor: 22
            })
        );
        assert_eq!(version("/usr/lib64/libxenguest.so"), None);
        assert_eq!(version("/usr/lib64/libxenguest.so.4"), None);
        assert_eq!(version("/usr/lib64/libxenctrl.so.4.17"), None);
        assert_eq!(version("/usr/lib64/libxenguest.so.4.x"), None);
    }

    #[test]
    fn known_versions_are_those_read() {
        let known = |major, minor| Version { major, minor }.is_known();
        assert!(!known(4, 13) && known(4, 14) && known(4, 17) && known(4, 22));
        assert!(!known(4, 23) && !known(5, 0) && !known(3, 17));
    }
}
