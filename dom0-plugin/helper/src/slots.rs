//! The symbols that come before libxenguest's and libxenctrl's own.
//!
//! Each is one jump through a slot. A jump passes on every argument there is, so a slot that holds the original is as
//! if the library were not there, whatever the prototypes have become.

use std::arch::naked_asm;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::messages::say;
use super::originals::{
    self, AllocPages, FreePages, InterfaceOpen, ReadExact, Restore, Save, ShadowControl, Symbols,
};

type Slot = AtomicPtr<c_void>;

static SAVE: Slot = Slot::new(null_mut());
static RESTORE: Slot = Slot::new(null_mut());
static READ_EXACT: Slot = Slot::new(null_mut());
static SHADOW_CONTROL: Slot = Slot::new(null_mut());
static INTERFACE_OPEN: Slot = Slot::new(null_mut());
static ALLOC_PAGES: Slot = Slot::new(null_mut());
static FREE_PAGES: Slot = Slot::new(null_mut());

macro_rules! jump {
    ($($(#[$doc:meta])* $symbol:ident through $slot:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// As the function of this name in Xen's library; called by C code only.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol() {
            naked_asm!("endbr64", "jmp qword ptr [rip + {slot}]", slot = sym $slot)
        }
    )*};
}

jump! {
    /// Saves a domain: to `save::xc_domain_save`.
    xc_domain_save through SAVE;
    /// Restores a domain: to `restore::xc_domain_restore`.
    xc_domain_restore through RESTORE;
    /// Reads from the stream: to the original, except while a domain is restored.
    read_exact through READ_EXACT;
    /// Switches log-dirty on and off: to the original, except while a domain with GPU state is saved.
    xc_shadow_control through SHADOW_CONTROL;
    /// Opens libxenctrl: to `messages::xc_interface_open`, which remembers the helper's logger.
    xc_interface_open through INTERFACE_OPEN;
    /// Makes a buffer for hypercalls: to the original, except while RAM is pre-copied by the plugin.
    xc__hypercall_buffer_alloc_pages through ALLOC_PAGES;
    /// Frees one: as the one above.
    xc__hypercall_buffer_free_pages through FREE_PAGES;
}

/// Fills all slots with the originals.
pub fn fill(symbols: &Symbols) {
    for (slot, original) in [
        (&SAVE, symbols.save),
        (&RESTORE, symbols.restore),
        (&READ_EXACT, symbols.read_exact),
        (&SHADOW_CONTROL, symbols.shadow_control),
        (&INTERFACE_OPEN, symbols.interface_open),
        (&ALLOC_PAGES, symbols.alloc_pages),
        (&FREE_PAGES, symbols.free_pages),
    ] {
        slot.store(original, Ordering::Release);
    }
}

/// Puts handlers in front of the functions that a save, a restore and the helper itself begin with.
pub fn intercept(save: Save, restore: Restore, interface_open: InterfaceOpen) {
    SAVE.store(save as *mut c_void, Ordering::Release);
    RESTORE.store(restore as *mut c_void, Ordering::Release);
    INTERFACE_OPEN.store(interface_open as *mut c_void, Ordering::Release);
}

/// Sends `read_exact` to `handler` until the value is dropped.
#[derive(Debug)]
pub struct ReadHook(());

impl ReadHook {
    pub fn set(handler: ReadExact) -> Self {
        READ_EXACT.store(handler as *mut c_void, Ordering::Release);
        Self(())
    }

    /// Sends `read_exact` to the original from now on.
    pub fn step_aside() {
        match originals::get() {
            Some(originals) => {
                READ_EXACT.store(originals.read_exact as *mut c_void, Ordering::Release)
            }
            None => say!(Error, "no original read_exact"),
        }
    }
}

impl Drop for ReadHook {
    fn drop(&mut self) {
        Self::step_aside();
    }
}

/// Sends `xc_shadow_control` to `handler` until the value is dropped.
#[derive(Debug)]
pub struct ShadowHook(*mut c_void);

impl ShadowHook {
    pub fn set(handler: ShadowControl) -> Self {
        Self(SHADOW_CONTROL.swap(handler as *mut c_void, Ordering::AcqRel))
    }
}

impl Drop for ShadowHook {
    fn drop(&mut self) {
        SHADOW_CONTROL.store(self.0, Ordering::Release);
    }
}

/// Sends the functions that make and free hypercall buffers to handlers, until [`BufferSlots::restore`].
#[derive(Debug)]
pub struct BufferSlots(*mut c_void, *mut c_void);

impl BufferSlots {
    pub fn set(alloc: AllocPages, free: FreePages) -> Self {
        Self(
            ALLOC_PAGES.swap(alloc as *mut c_void, Ordering::AcqRel),
            FREE_PAGES.swap(free as *mut c_void, Ordering::AcqRel),
        )
    }

    pub fn restore(&self) {
        ALLOC_PAGES.store(self.0, Ordering::Release);
        FREE_PAGES.store(self.1, Ordering::Release);
    }
}
