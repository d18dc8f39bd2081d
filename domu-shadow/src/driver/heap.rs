//! Memory of the process's allocator that a driver forgets when it is closed.
//!
//! NVIDIA's (580.159) leaves tables of 3.5 MB behind at each load. Pieces of some size that the libraries of its family allocate are
//! noted until they are freed, by way of the relocated addresses (ELF `JUMP_SLOT`, `GLOB_DAT`, `64`) through which these
//! libraries alone call the allocator; what is still noted when none of them is mapped any more is freed.
//!
//! `unsafe`: reads the dynamic sections that the dynamic linker has mapped and relocated (ELF gABI, chapter 5), writes
//! relocated addresses, and stands in for functions of the C library.

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ops::Range;
use std::path::Path;
use std::slice;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libloading::os::unix::{Library, RTLD_NOW};

use super::snapshot::file_name;

/// Bytes from which on a piece is noted. What is left is 128 KiB to 2.6 MiB, and a dozen of some KiB; what a call allocates for
/// itself is smaller, and costs no more than a comparison.
const LEAST: usize = 1 << 10;

static NOTED: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// How many noted pieces there are by a hash of their address: `free` takes the lock only where there is one.
static COUNTS: [AtomicU32; 1024] = [const { AtomicU32::new(0) }; 1024];

fn noted() -> MutexGuard<'static, BTreeSet<usize>> {
    NOTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(piece: usize) -> &'static AtomicU32 {
    // Fibonacci hashing: the upper 10 bits of the product.
    &COUNTS[(piece as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) as usize >> 54]
}

fn note(piece: *mut c_void, size: usize) {
    if size >= LEAST && !piece.is_null() && noted().insert(piece as usize) {
        count(piece as usize).fetch_add(1, Ordering::Relaxed);
    }
}

/// Before it is freed: its address can be another's at once. True if it was noted.
fn forget(piece: *mut c_void) -> bool {
    let piece = piece as usize;
    // Relaxed: who frees a piece has got it from whom it was noted for.
    let was = count(piece).load(Ordering::Relaxed) > 0 && noted().remove(&piece);
    if was {
        count(piece).fetch_sub(1, Ordering::Relaxed);
    }
    was
}

unsafe extern "C" fn noting_malloc(size: usize) -> *mut c_void {
    // SAFETY: malloc(3).
    let piece = unsafe { libc::malloc(size) };
    note(piece, size);
    piece
}

unsafe extern "C" fn noting_calloc(members: usize, size: usize) -> *mut c_void {
    // SAFETY: malloc(3).
    let piece = unsafe { libc::calloc(members, size) };
    note(piece, members.saturating_mul(size));
    piece
}

unsafe extern "C" fn noting_realloc(old: *mut c_void, size: usize) -> *mut c_void {
    let was_noted = forget(old);
    // SAFETY: `old` is the caller's, as malloc(3) demands.
    let piece = unsafe { libc::realloc(old, size) };
    if piece.is_null() && size > 0 && was_noted {
        note(old, LEAST); // it stays as it was
    }
    note(piece, size);
    piece
}

unsafe extern "C" fn noting_free(piece: *mut c_void) {
    forget(piece);
    // SAFETY: `piece` is the caller's, as malloc(3) demands.
    unsafe { libc::free(piece) };
}

unsafe extern "C" {
    /// getline(3)
    fn getdelim(
        line: *mut *mut c_char,
        room: *mut usize,
        delimiter: c_int,
        file: *mut libc::FILE,
    ) -> isize;
}

unsafe extern "C" fn noting_getdelim(
    line: *mut *mut c_char,
    room: *mut usize,
    delimiter: c_int,
    file: *mut libc::FILE,
) -> isize {
    // SAFETY: as getline(3) demands; the library may move the line, and from then on it is not noted any more.
    unsafe {
        if let Some(&line) = line.as_ref() {
            forget(line.cast());
        }
        getdelim(line, room, delimiter, file)
    }
}

/// What a library calls, and what it calls instead. Those that take a piece away first: noted must be only what they would see.
fn replacements() -> [(&'static CStr, *mut c_void); 5] {
    [
        (c"free", noting_free as *mut c_void),
        (c"realloc", noting_realloc as *mut c_void),
        (c"__getdelim", noting_getdelim as *mut c_void),
        (c"calloc", noting_calloc as *mut c_void),
        (c"malloc", noting_malloc as *mut c_void),
    ]
}

/// What else frees or moves a caller's piece. NVIDIA's libraries use none of them; one that does is not watched.
const OTHERS: [&CStr; 4] = [c"getline", c"getdelim", c"reallocarray", c"cfree"];

/// Notes from now on what those mapped libraries allocate whose file names `is_meant` accepts.
pub(super) fn watch(is_meant: impl Fn(&str) -> bool) {
    // A reference each, which the linker gives when it is done with that library: none is half relocated or goes away.
    let held: Vec<Library> = mapped(&is_meant)
        .iter()
        .filter_map(|object| {
            // SAFETY: with RTLD_NOLOAD this only looks for a library that is mapped; no code of it runs.
            unsafe { Library::open(Some(&object.path), RTLD_NOW | libc::RTLD_NOLOAD) }.ok()
        })
        .collect();
    if held.is_empty() {
        return;
    }
    for object in mapped(&is_meant) {
        if !object.redirect() {
            log::debug!("{}: its use of the allocator is not watched", object.path);
        }
    }
}

/// Frees what libraries that were watched have left: none may be mapped any more. Number of pieces.
pub(super) fn free_forgotten() -> usize {
    let left = std::mem::take(&mut *noted());
    for &piece in &left {
        count(piece).fetch_sub(1, Ordering::Relaxed);
        // SAFETY: allocated by code that is gone without freeing it; nothing that is left knows of it.
        unsafe { libc::free(std::ptr::with_exposed_provenance_mut(piece)) };
    }
    left.len()
}

/// A mapped library.
struct Object {
    path: String,
    base: usize,
    dynamic: Range<usize>,
    /// What the linker has made read-only, whole pages.
    read_only: Range<usize>,
}

type Meant<'f> = &'f dyn Fn(&str) -> bool;

fn mapped(is_meant: Meant<'_>) -> Vec<Object> {
    let mut seek = (Vec::new(), is_meant);
    // SAFETY: `look` gets the pointer to `seek`, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut seek).cast()) };
    seek.0
}

unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, seek: *mut c_void) -> c_int {
    // SAFETY: `mapped` passed this pair, and the linker passes a valid description.
    let (info, (found, is_meant)) =
        unsafe { (&*info, &mut *seek.cast::<(Vec<Object>, Meant<'_>)>()) };
    if info.dlpi_name.is_null() || info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the linker's own string.
    let path = unsafe { CStr::from_ptr(info.dlpi_name) };
    let Some(path) = path
        .to_str()
        .ok()
        .filter(|path| is_meant(file_name(Path::new(path))))
    else {
        return 0;
    };
    // SAFETY: as the linker says; the headers are mapped with the library.
    let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let base = info.dlpi_addr as usize;
    let range = |kind: u32| {
        let header = headers.iter().find(|header| header.p_type == kind)?;
        let start = base + header.p_vaddr as usize;
        Some(start..start + header.p_memsz as usize)
    };
    if let Some(dynamic) = range(libc::PT_DYNAMIC) {
        let read_only = range(libc::PT_GNU_RELRO).unwrap_or(0..0);
        found.push(Object {
            path: path.to_owned(),
            base,
            dynamic,
            read_only: page_of(read_only.start)..page_of(read_only.end),
        });
    }
    0
}

/// The start of the page that has this address.
fn page_of(address: usize) -> usize {
    address & !(PAGE - 1)
}

/// `Elf64_Dyn`
#[repr(C)]
struct Dynamic {
    tag: i64,
    value: u64,
}

/// `Elf64_Rela`
#[repr(C)]
struct Relocation {
    offset: u64,
    info: u64,
    addend: i64,
}

/// `Elf64_Sym`
#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: u64,
    size: u64,
}

// gABI, figures 5-10 (dynamic array tags) and, of the x86-64 psABI, 4.9 (relocation types).
const DT_PLTRELSZ: i64 = 2;
const DT_STRTAB: i64 = 5;
const DT_SYMTAB: i64 = 6;
const DT_RELA: i64 = 7;
const DT_RELASZ: i64 = 8;
const DT_JMPREL: i64 = 23;
const R_X86_64_64: u32 = 1;
const R_X86_64_GLOB_DAT: u32 = 6;
const R_X86_64_JUMP_SLOT: u32 = 7;

const PAGE: usize = 4096;

impl Object {
    fn entry(&self, tag: i64) -> Option<usize> {
        // SAFETY: the section as the program header has it, mapped for as long as the library.
        let entries = unsafe {
            slice::from_raw_parts(
                std::ptr::with_exposed_provenance::<Dynamic>(self.dynamic.start),
                self.dynamic.len() / size_of::<Dynamic>(),
            )
        };
        let used = entries.iter().take_while(|entry| entry.tag != 0);
        let mut named = used.filter(|entry| entry.tag == tag);
        named.next().map(|entry| entry.value as usize)
    }

    /// An address in the dynamic section, which glibc has relocated.
    fn table<T>(&self, tag: i64) -> Option<*const T> {
        let at = self.entry(tag).filter(|&at| at >= self.base)?;
        Some(std::ptr::with_exposed_provenance(at))
    }

    /// Where the library looks up one of `names`, with that one's index.
    fn slots(&self, names: &[&CStr]) -> Option<Vec<(usize, *mut *mut c_void)>> {
        let symbols = self.table::<Symbol>(DT_SYMTAB)?;
        let strings = self.table::<c_char>(DT_STRTAB)?;
        let mut slots = Vec::new();
        for (table, size) in [(DT_RELA, DT_RELASZ), (DT_JMPREL, DT_PLTRELSZ)] {
            let (Some(first), Some(size)) = (self.table::<Relocation>(table), self.entry(size))
            else {
                continue;
            };
            // SAFETY: as the dynamic section has it.
            let all = unsafe { slice::from_raw_parts(first, size / size_of::<Relocation>()) };
            for relocation in all {
                let kind = relocation.info as u32;
                if ![R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT].contains(&kind)
                    || relocation.addend != 0
                {
                    continue;
                }
                // SAFETY: a relocation's symbol is in the symbol table, its name in the string table.
                let name = unsafe {
                    let symbol = &*symbols.add((relocation.info >> 32) as usize);
                    CStr::from_ptr(strings.add(symbol.name as usize))
                };
                if let Some(at) = names.iter().position(|wanted| *wanted == name) {
                    let slot = self.base + relocation.offset as usize;
                    slots.push((at, std::ptr::with_exposed_provenance_mut(slot)));
                }
            }
        }
        Some(slots)
    }

    /// Puts the replacements in the place of the allocator's functions; false if that could not be done.
    fn redirect(&self) -> bool {
        let replacements = replacements();
        let names = replacements.map(|(name, _)| name);
        let Some(slots) = self.slots(&names) else {
            return false;
        };
        if self.slots(&OTHERS).is_none_or(|others| !others.is_empty()) {
            return false;
        }
        (0..replacements.len()).all(|which| {
            let mut meant = slots.iter().filter(|(at, _)| *at == which);
            meant.all(|(_, slot)| self.put(*slot, replacements[which].1))
        })
    }

    fn put(&self, slot: *mut *mut c_void, function: *mut c_void) -> bool {
        // SAFETY: an aligned address of the library's data; the linker has written it, and nothing but this module does.
        let slot = unsafe { AtomicPtr::from_ptr(slot) };
        if slot.load(Ordering::Relaxed) == function {
            return true;
        }
        let page: *mut c_void = slot.as_ptr().map_addr(page_of).cast();
        let is_protected = self.read_only.contains(&page.addr());
        let protect = |rights| {
            // SAFETY: a page of the library's data, which stays readable.
            !is_protected || unsafe { libc::mprotect(page, PAGE, rights) } == 0
        };
        if !protect(libc::PROT_READ | libc::PROT_WRITE) {
            return false;
        }
        // Threads of the driver call either one.
        slot.store(function, Ordering::Release);
        protect(libc::PROT_READ)
    }
}
