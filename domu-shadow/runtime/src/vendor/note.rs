//! The ELF note by which our libraries know each other's files, under whatever name and path.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// `Elf64_Nhdr` (sizes of name and description, type) and the name.
type Note = ([u32; 3], [u8; 8]);

const CONTENT: Note = ([7, 0, 1], *b"xl-gpu\0\0");

#[used]
#[unsafe(link_section = ".note.xl-gpu")]
static NOTE: Note = CONTENT;

const PT_NOTE: u32 = 4;
/// More notes than any library has.
const LONGEST: usize = 1 << 16;

/// Whether the file is a library, or a program, with our note.
pub(super) fn is_in(file: &Path) -> bool {
    File::open(file).is_ok_and(|file| has(&|at, bytes| file.read_exact_at(bytes, at).ok()))
}

/// `Elf64_Ehdr` and `Elf64_Phdr` (elf(5)), little-endian.
fn has(read: &dyn Fn(u64, &mut [u8]) -> Option<()>) -> bool {
    let word = |at| {
        let mut bytes = [0; 8];
        read(at, &mut bytes).map(|()| u64::from_le_bytes(bytes))
    };
    let half = |at| Some(word(at)? as u16);
    let (Some(table), Some(size), Some(count)) = (word(32), half(54), half(56)) else {
        return false;
    };
    let notes = |segment: u16| -> Option<Vec<u8>> {
        let header = table.checked_add(u64::from(segment) * u64::from(size))?;
        if word(header)? as u32 != PT_NOTE {
            return None;
        }
        let mut notes = vec![0; usize::try_from(word(header + 32)?).ok()?.min(LONGEST)];
        read(word(header + 8)?, &mut notes)?;
        Some(notes)
    };
    let ours: Vec<u8> = CONTENT
        .0
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let ours = [&ours[..], &CONTENT.1].concat();
    (0..count)
        .filter_map(notes)
        .any(|notes| notes.windows(ours.len()).any(|it| it == ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_has_it_and_others_do_not() {
        assert!(is_in(&std::env::current_exe().unwrap()));
        assert!(!is_in(Path::new("/bin/true")));
        assert!(!is_in(Path::new("/dev/null")) && !is_in(Path::new("/etc/passwd")));
    }
}
