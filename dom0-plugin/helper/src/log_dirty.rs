//! The call that switches log-dirty on, for a domain with PCI devices assigned.
//!
//! Xen refuses it while a device is assigned (`has_arch_pdevs`, `-EINVAL`). libxc makes it when the stream's headers are
//! written and no page of memory is, so here is the last moment for the device to go, and a record boundary:
//!
//! ```text
//!  libxc                       plugin                              xl-gpud                 guest
//!    │ xc_shadow_control(ENABLE) │  RAM pass, precopy, RAM pass, …   │                       │ runs, GPU too
//!    ├──────────────────────────►├──────────────────────────────────►│◄──────── data ────────┤
//!    │                           │  stop                             │◄──────── data ────────┤ GPU calls wait
//!    │                           ├──────────────────────────────────►│ unload, `xl pci-detach`─►│ no device
//!    │◄──── the original ────────┤                                   │                       │ CPUs run on
//! ```
//!
//! A failure on the way makes this call fail, and the later ones too: libxc tries twice, then gives up cleanly. The
//! daemon brings devices and GPU state back.

use std::ffi::{c_int, c_uint};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use xen_bindings::guest::XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;

use super::callbacks::Save;
use super::devices::Devices;
use super::slots::ShadowHook;
use super::{errno, originals};
use protocol::helper::Next;

static SAVE: AtomicPtr<Save> = AtomicPtr::new(null_mut());

/// Stands in front of `xc_shadow_control` until it is dropped.
#[derive(Debug)]
pub struct LogDirtyHook {
    _jump: ShadowHook,
}

impl LogDirtyHook {
    /// `save` must outlive the hook, and be used by nobody else while libxenguest's `xc_domain_save` runs.
    pub fn set(save: *mut Save) -> Self {
        SAVE.store(save, Ordering::Release);
        Self {
            _jump: ShadowHook::set(xc_shadow_control),
        }
    }
}

impl Drop for LogDirtyHook {
    fn drop(&mut self) {
        SAVE.store(null_mut(), Ordering::Release);
    }
}

/// In front of libxenctrl's function. It has eight parameters up to Xen 4.15 and five from 4.16 on, where the last
/// three here are whatever stands in the caller's register and stack; they are passed on and nobody looks at them.
///
/// # Safety
/// As `xc_shadow_control`; called within the `xc_domain_save` that the hook was set for.
#[allow(clippy::too_many_arguments)] // they are libxenctrl's
unsafe extern "C" fn xc_shadow_control(
    xch: usize,
    domid: u32,
    operation: c_uint,
    a4: usize,
    a5: usize,
    a6: usize,
    a7: usize,
    a8: usize,
) -> c_int {
    let Some(originals) = originals::get() else {
        return -1;
    };
    // SAFETY: libxc calls from within `xc_domain_save`, on one thread, and no callback of that runs now.
    let save = unsafe { SAVE.load(Ordering::Acquire).as_mut() };
    let enable = operation == XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
    if let Some(save) = save.filter(|save| enable && save.domid == domid) {
        let ready = catch_unwind(AssertUnwindSafe(|| save.before_log_dirty())).unwrap_or(false);
        if !ready {
            save.devices = Devices::Stuck;
            errno::set(libc::ECANCELED);
            return -1;
        }
    }
    // SAFETY: the caller's own arguments.
    unsafe { (originals.shadow_control)(xch, domid, operation, a4, a5, a6, a7, a8) }
}

impl Save {
    /// Has devices sent away before Xen is asked to track writes; false, with the reason told, where that failed.
    fn before_log_dirty(&mut self) -> bool {
        match self.devices {
            Devices::None | Devices::Away => return true,
            Devices::Stuck => return false,
            Devices::Assigned => {}
        }
        // The guest runs, and its programs compute.
        if !self.rounds() {
            return false;
        }
        let away = self.stop();
        if away {
            self.devices = Devices::Away;
            self.ram.detached();
        }
        away
    }

    /// Passes of RAM and rounds of the GPU in turns, until neither has use for more: the daemon knows when rounds stop
    /// helping. The last is the GPU's.
    fn rounds(&mut self) -> bool {
        loop {
            if self.ram.wants_pass() && !self.ram_pass() {
                return false;
            }
            let Some(round) = self.round(0, -1) else {
                return false;
            };
            let enough = self.ram.gpu_round(round.next == Next::Stop);
            if enough || round.next == Next::Force {
                return true;
            }
        }
    }
}
