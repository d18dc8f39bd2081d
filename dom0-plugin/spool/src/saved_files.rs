//! The files of an image on record.

use std::io;
use std::path::{Path, PathBuf};

/// The files of a saved image; removed when dropped.
#[derive(Debug)]
pub(super) struct SavedFiles {
    /// The index first.
    pub paths: Vec<PathBuf>,
}

impl Drop for SavedFiles {
    fn drop(&mut self) {
        // What went wrong in this daemon need not cost the guest its image.
        if std::thread::panicking() {
            return;
        }
        // The index goes first: files without one are nobody's.
        for path in &self.paths {
            remove(path);
        }
    }
}

/// Removes a file; one that is not there is no trouble.
pub(super) fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            log::warn!("{} cannot be removed: {e}", path.display());
        }
        _ => {}
    }
}
