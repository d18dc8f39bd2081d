//! Names of files.

use std::ffi::OsStr;
use std::path::Path;

/// The last part of a path, empty if there is none.
pub fn file_name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("")
}

/// `libpocl.so.2.10.0` → `libpocl.so`: the loader may have followed a link to another version.
pub(super) fn library_stem(name: &OsStr) -> String {
    let file = file_name(Path::new(name));
    file.find(".so")
        .map_or(file, |at| &file[..at + 3])
        .to_owned()
}
