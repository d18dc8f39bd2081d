//! An HVM guest's interrupt lines, as its device model drives them (`/dev/xen/privcmd`).

use std::io;
use std::ptr::NonNull;

use crate::error::DeviceModelError;
use crate::sys::devicemodel::{Api, xendevicemodel_handle};
use crate::{library, logger};

/// The line of ACPI's system control interrupt (SCI) on the PIIX4 that QEMU shows HVM guests.
pub const ACPI_IRQ: u8 = 9;

/// An open handle.
#[derive(Debug)]
pub struct DeviceModel {
    api: &'static Api,
    handle: NonNull<xendevicemodel_handle>,
}

impl DeviceModel {
    /// # Errors
    /// What opening the library or the device said.
    pub fn open() -> Result<Self, DeviceModelError> {
        let api = library::devicemodel()?;
        // SAFETY: the logger lives as long as the process; no flags are set.
        let handle = unsafe { (api.xendevicemodel_open)(logger::quiet().cast(), 0) };
        let handle = NonNull::new(handle)
            .ok_or_else(|| DeviceModelError::Open(io::Error::last_os_error()))?;
        Ok(Self { api, handle })
    }

    /// Lowers, raises and lowers ISA interrupt line `irq` of domain `domid`. It ends low: a line that stays high makes no edge
    /// for the next event.
    ///
    /// # Errors
    /// [`DeviceModelError::IsaIrq`], after the attempt to lower the line again.
    pub fn pulse_isa_irq(&self, domid: u16, irq: u8) -> Result<(), DeviceModelError> {
        let set = |level| {
            // SAFETY: the handle is open; the other arguments are plain numbers.
            let result = unsafe {
                (self.api.xendevicemodel_set_isa_irq_level)(self.handle.as_ptr(), domid, irq, level)
            };
            match result {
                0 => Ok(()),
                _ => Err(DeviceModelError::IsaIrq {
                    domid,
                    irq,
                    source: io::Error::last_os_error(),
                }),
            }
        };
        set(0)?;
        let raised = set(1);
        set(0).and(raised)
    }
}

impl Drop for DeviceModel {
    fn drop(&mut self) {
        // SAFETY: the handle is open and not used again.
        unsafe { (self.api.xendevicemodel_close)(self.handle.as_ptr()) };
    }
}
