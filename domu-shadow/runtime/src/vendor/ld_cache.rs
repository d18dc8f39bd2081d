//! The dynamic linker's cache of where libraries are (glibc `sysdeps/generic/dl-cache.h`, the format since 2.2).

use std::ffi::{CStr, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// Bytes before the entries.
const HEADER: usize = 48;
/// Bytes of an entry: flags, offsets of name and path, a version, hardware capabilities.
const ENTRY: usize = 24;
/// `FLAG_ELF_LIBC6` with `FLAG_X8664_LIB64`.
const X86_64: u32 = 0x0303;

/// The files that the cache has under this name, the linker's choice first.
pub(super) fn find(name: &str) -> Vec<PathBuf> {
    let cache = fs::read("/etc/ld.so.cache").unwrap_or_default();
    // Older files have another table before this one.
    let start = cache.windows(MAGIC.len()).position(|it| it == MAGIC);
    start.map_or(Vec::new(), |start| files(&cache[start..], name))
}

fn files(cache: &[u8], name: &str) -> Vec<PathBuf> {
    let number = |at: usize| {
        let bytes = cache.get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let text = |at: usize| {
        let text = CStr::from_bytes_until_nul(cache.get(number(at)? as usize..)?);
        Some(text.ok()?.to_bytes())
    };
    let count = number(MAGIC.len()).unwrap_or(0) as usize;
    let entries = (0..count).map(|entry| HEADER + entry * ENTRY);
    let ours = entries.filter(|&at| {
        number(at) == Some(X86_64) && text(at + 4).is_some_and(|key| key == name.as_bytes())
    });
    let paths = ours.filter_map(|at| Some(OsStr::from_bytes(text(at + 8)?).into()));
    paths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_c_library_and_nothing_without_a_cache() {
        let found = find("libc.so.6");
        assert!(found.iter().any(|file| file.is_file()), "{found:?}");
        assert_eq!(find("libno-such.so.1"), [""; 0].map(PathBuf::from));
        assert_eq!(files(MAGIC, "libc.so.6"), [""; 0].map(PathBuf::from));
    }
}
