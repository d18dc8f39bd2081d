//! Libraries that a driver opens by itself and forgets.

use std::ffi::OsStr;

use super::paths::library_stem;

/// File name of the driver, then its family in the order of closing.
const FAMILIES: [(&str, &[&str]); 1] = [(
    "libnvidia-opencl.so",
    &[
        "libnvidia-opencl.so",
        "libnvidia-nvvm",
        "libnvidia-ptxjitcompiler.so",
        "libnvidia-",
        "libcuda.so",
    ],
)];

/// What the names of all such libraries start with.
pub(super) fn stems() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|(_, family)| *family).copied()
}

/// Whether a vendor's library is the OpenCL driver of such a family.
pub(super) fn is_driver(name: &OsStr) -> bool {
    let stem = library_stem(name);
    FAMILIES.iter().any(|(driver, _)| stem.starts_with(driver))
}

/// Start of the paths of device nodes that only that family opens.
pub(super) const FAMILY_NODES: &str = "/dev/nvidia";

/// The family of a driver, in the order of closing; empty where it has none.
pub(super) fn of(driver: &OsStr) -> &'static [&'static str] {
    let stem = library_stem(driver);
    let mut families = FAMILIES.iter();
    let family = families.find(|(driver, _)| stem.starts_with(driver));
    family.map_or(&[], |(_, family)| family)
}
