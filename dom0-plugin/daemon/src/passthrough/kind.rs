//! The types of Xen's guests, and what each has to do with PCI devices.

use std::str::FromStr;

/// The type of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestKind {
    /// Paravirtual: Linux's pcifront takes part in attaching and detaching devices.
    Pv,
    /// Paravirtual in a hardware container: libxl gives it no device (`libxl_x86.c`).
    Pvh,
    /// Hardware-virtualised: a device model (QEMU) shows it the devices, and ACPI tells of their coming and going.
    Hvm,
}

/// A text that is no guest's type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `pv`, `pvh` or `hvm`, not `{0}`")]
pub struct UnknownKind(String);

/// As libxl's node `/libxl/DOMID/type` has it (`libxl_domain_type_to_string`).
impl FromStr for GuestKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        match text {
            "pv" => Ok(GuestKind::Pv),
            "pvh" => Ok(GuestKind::Pvh),
            "hvm" => Ok(GuestKind::Hvm),
            other => Err(UnknownKind(other.to_owned())),
        }
    }
}
