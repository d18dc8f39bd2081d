//! Whether somebody's `xl` is at work with a domain's PCI devices.
//!
//! libxl holds no lock over the whole of an attach or a detach that others could see.

use std::fs;
use std::io;
use std::path::Path;

/// `xl`'s commands that change a domain's devices.
const COMMANDS: [&str; 2] = ["pci-attach", "pci-detach"];

/// Whether a process of `proc` (`/proc`) has such a command line.
pub fn any(proc: &Path, is_one: impl Fn(&[&str]) -> bool) -> io::Result<bool> {
    for entry in fs::read_dir(proc)?.flatten() {
        let name = entry.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        // One that has ended meanwhile does nothing.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let words: Vec<&str> = line.split('\0').collect();
        if is_one(&words) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether this is `xl` at work with the devices of the domain of that number and name.
pub fn is_xl_for(words: &[&str], domid: &str, name: &str) -> bool {
    let Some((program, arguments)) = words.split_first() else {
        return false;
    };
    let is_xl = Path::new(program)
        .file_name()
        .is_some_and(|file| file == "xl");
    let mut arguments = arguments.iter();
    is_xl
        && arguments.any(|word| COMMANDS.contains(word))
        && arguments.any(|word| *word == domid || (!name.is_empty() && *word == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_devices_xl_is_at() {
        let is_one = |line: &str| is_xl_for(&line.split(' ').collect::<Vec<_>>(), "5", "web");
        for line in [
            "xl pci-detach 5 0000:3b:00.0",
            "/usr/sbin/xl -vvv pci-attach web 0000:3b:00.0",
            "xl pci-detach -f 5 3b:00.0",
        ] {
            assert!(is_one(line), "{line}");
        }
        for line in [
            "",
            "xl pci-detach 6 0000:3b:00.0",
            "xl list 5",
            "xl migrate 5 pci-detach",
            "grep pci-detach 5",
        ] {
            assert!(!is_one(line), "{line}");
        }
        assert!(!is_xl_for(&["xl", "pci-detach", ""], "5", ""));
    }

    #[test]
    fn processes_are_found() {
        let own = std::env::args().next().unwrap();
        let found = any(Path::new("/proc"), |words| words.first() == Some(&&*own));
        assert!(found.unwrap());
        assert!(!any(Path::new("/proc"), |_| false).unwrap());
        any(Path::new("/nonexistent"), |_| true).unwrap_err();
    }
}
