//! This load of the library: its number, kept in a file that outlives it, and whether it ends.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{env, fs};

use crate::options::Options;

static NUMBER: AtomicU64 = AtomicU64::new(0);
static LEAVING: AtomicBool = AtomicBool::new(false);

/// Which load of the driver this is, from 1; 0 before the first question for platforms.
pub fn number() -> u64 {
    NUMBER.load(Ordering::Relaxed)
}

/// Whether the library is being unloaded: workers end, and nothing is called back any more.
pub fn leaving() -> bool {
    LEAVING.load(Ordering::Acquire)
}

/// The library is being unloaded from now on.
pub fn leave() {
    LEAVING.store(true, Ordering::Release);
}

/// Counts this load.
///
/// # Errors
/// Says why the file cannot be written.
pub fn count(options: &Options) -> Result<(), String> {
    let own = || options.changes_after_reload().then(own_count_file);
    let mut number = 1;
    if let Some(path) = options.loads.clone().or_else(own) {
        let before = fs::read_to_string(&path).ok();
        number += before.map_or(0, |text| text.trim().parse().unwrap_or(0));
        fs::write(&path, format!("{number}\n"))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    NUMBER.store(number, Ordering::Relaxed);
    Ok(())
}

/// A file of this very process: its id alone may have been another's before.
fn own_count_file() -> PathBuf {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // proc_pid_stat(5): field 22, counted behind the name in parentheses, is the start time.
    let start = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().nth(19))
        .unwrap_or("0");
    env::temp_dir().join(format!("xl-gpu-stub-{}-{start}.loads", std::process::id()))
}
