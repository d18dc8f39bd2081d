//! The toolstack's save helper, and the libxenguest that it runs with.

use crate::passthrough::command;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
const NAME: &str = "bin/libxl-save-helper";

/// Where the wrapper looks for Xen's own (dom0-plugin/helper/libxl-save-helper): by the running version, else any.
fn stock() -> io::Result<PathBuf> {
    let version = |part| std::fs::read_to_string(format!("/sys/hypervisor/version/{part}"));
    let running = match (version("major"), version("minor")) {
        (Ok(major), Ok(minor)) => vec![format!("/usr/lib/xen-{}.{}", major.trim(), minor.trim())],
        _ => Vec::new(),
    };
    let plain = ["/usr/lib/xen", "/usr/libexec/xen", "/usr/local/lib/xen"];
    let folders = running.into_iter().chain(plain.map(str::to_owned));
    folders
        .map(|folder| Path::new(&folder).join(NAME))
        .find(|path| path.exists())
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "Xen's libxl-save-helper is not found",
            )
        })
}

/// Path of the libxenguest that it is linked with: the dynamic linker tells, and runs nothing.
pub fn libxenguest() -> io::Result<String> {
    let helper = stock()?;
    let helper = helper.to_string_lossy();
    let listed = command::run(&helper, &[], &[("LD_TRACE_LOADED_OBJECTS", "1")], PATIENCE)?;
    listed
        .split_whitespace()
        .find(|word| word.starts_with('/') && word.contains("/libxenguest.so."))
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other(format!("{helper} is linked with no libxenguest")))
}
