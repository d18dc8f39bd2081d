//! Libraries that a driver opens by itself and forgets.

use std::ffi::OsStr;
use std::path::Path;

use super::snapshot::file_name;

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

/// `libpocl.so.2.10.0` → `libpocl.so`: the loader may have followed a link to another version.
pub(super) fn library_stem(name: &OsStr) -> String {
    let file = file_name(Path::new(name));
    file.find(".so")
        .map_or(file, |at| &file[..at + 3])
        .to_owned()
}
