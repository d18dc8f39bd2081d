//! The toolstack's save helper, and the libxenguest that it runs with.

use crate::passthrough::command;
use std::io;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// Path of the libxenguest that it is linked with: the dynamic linker tells, and runs nothing.
pub fn libxenguest() -> io::Result<String> {
    let helper = host::helper::running()?.stock();
    let helper = helper.to_string_lossy();
    let listed = command::run(&helper, &[], &[("LD_TRACE_LOADED_OBJECTS", "1")], PATIENCE)?;
    listed
        .split_whitespace()
        .find(|word| word.starts_with('/') && word.contains("/libxenguest.so."))
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other(format!("{helper} is linked with no libxenguest")))
}
