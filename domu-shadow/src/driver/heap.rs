//! Memory of the process's allocator that a driver forgets when it is closed.
//!
//! NVIDIA's (580.159) leaves tables of 3.5 MB behind at each load, all of them allocated by its OpenCL library. Large pieces that this
//! library allocates are noted until its family frees them, by way of the relocated addresses (ELF `JUMP_SLOT`, `GLOB_DAT`,
//! `64`) through which these libraries call the allocator; what is still noted when none of them is mapped any more is freed.
//!
//! So a noted piece must not be freed by anybody else. Tables of that size stay in the library; what it gives away (to the
//! program, as a thread's own value, to the C library) is small.
//!
//! `unsafe`: reads the dynamic sections that the dynamic linker has mapped and relocated (ELF gABI, chapter 5), writes
//! relocated addresses, and stands in for functions of the C library.

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ops::Range;
use std::path::Path;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libloading::os::unix::{Library, RTLD_NOW};

use super::snapshot::file_name;

/// Bytes from which on a piece is noted. The tables have 128 KiB to 2.6 MiB.
const LEAST: usize = 64 << 10;

/// In a child of `fork` another thread may have had the lock, and nothing is given back.
static OFF: AtomicBool = AtomicBool::new(false);

static NOTED: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// How many noted pieces there are by a hash of their address: `free` takes the lock only where there is one.
static COUNTS: [AtomicU32; 1024] = [const { AtomicU32::new(0) }; 1024];

/// In a child of `fork`: from now on nothing is noted or freed.
pub fn stop_in_child() {
    OFF.store(true, Ordering::Relaxed);
}

fn is_off() -> bool {
    OFF.load(Ordering::Relaxed)
}

fn noted() -> MutexGuard<'static, BTreeSet<usize>> {
    NOTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(piece: usize) -> &'static AtomicU32 {
    // Fibonacci hashing: the upper 10 bits of the product.
    &COUNTS[(piece as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) as usize >> 54]
}

fn note(piece: *mut c_void, size: usize) {
    if size >= LEAST && !is_off() && !piece.is_null() && noted().insert(piece as usize) {
        count(piece as usize).fetch_add(1, Ordering::Relaxed);
    }
}

/// Before it is freed: its address can be another's at once. True if it was noted.
fn forget(piece: *mut c_void) -> bool {
    let piece = piece as usize;
    // Relaxed: who frees a piece has got it from whom it was noted for.
    let was = count(piece).load(Ordering::Relaxed) > 0 && !is_off() && noted().remove(&piece);
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
    // SAFETY: as malloc(3) demands.
    unsafe {
        if old.is_null() {
            return noting_malloc(size);
        }
        following_realloc(old, size)
    }
}

/// What was noted stays noted; nothing else is.
unsafe extern "C" fn following_realloc(old: *mut c_void, size: usize) -> *mut c_void {
    let was_noted = forget(old);
    // SAFETY: `old` is the caller's, as malloc(3) demands.
    let piece = unsafe { libc::realloc(old, size) };
    if was_noted {
        match piece.is_null() && size > 0 {
            true => note(old, LEAST), // it stays as it was
            false => note(piece, size),
        }
    }
    piece
}

unsafe extern "C" fn following_free(piece: *mut c_void) {
    forget(piece);
    // SAFETY: `piece` is the caller's, as malloc(3) demands.
    unsafe { libc::free(piece) };
}

unsafe extern "C" {
    /// getline(3), under the name that libraries call it by.
    fn __getdelim(
        line: *mut *mut c_char,
        room: *mut usize,
        delimiter: c_int,
        file: *mut libc::FILE,
    ) -> isize;
}

unsafe extern "C" fn following_getdelim(
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
        __getdelim(line, room, delimiter, file)
    }
}

/// A function of the C library: its name, its address as this library has it, and what is called instead.
type Replacement = (&'static CStr, *mut c_void, *mut c_void);

/// Those that take a piece away first: noted must be only what they would see.
fn replacements(allocates: bool) -> Vec<Replacement> {
    let realloc: *mut c_void = match allocates {
        true => noting_realloc as *mut c_void,
        false => following_realloc as *mut c_void,
    };
    let mut all: Vec<Replacement> = vec![
        (
            c"free",
            libc::free as *mut c_void,
            following_free as *mut c_void,
        ),
        (c"realloc", libc::realloc as *mut c_void, realloc),
        (
            c"__getdelim",
            __getdelim as *mut c_void,
            following_getdelim as *mut c_void,
        ),
    ];
    if allocates {
        all.push((
            c"calloc",
            libc::calloc as *mut c_void,
            noting_calloc as *mut c_void,
        ));
        all.push((
            c"malloc",
            libc::malloc as *mut c_void,
            noting_malloc as *mut c_void,
        ));
    }
    all
}

/// What else frees or moves a caller's piece. NVIDIA's libraries use none of them; one that does is not watched.
const OTHERS: [&CStr; 4] = [c"getline", c"getdelim", c"reallocarray", c"cfree"];

/// Mapped libraries, with a reference each, which the linker gives when it is done with that library: none is half relocated or
/// goes away.
#[derive(Default)]
pub(super) struct Held(Vec<(String, Library)>);

/// Those whose file names `is_meant` accepts. Waits for whatever the linker does in other threads.
pub(super) fn hold(is_meant: impl Fn(&str) -> bool) -> Held {
    let mapped = mapped(&is_meant).into_iter();
    let held = mapped.filter_map(|object| {
        // SAFETY: with RTLD_NOLOAD this only looks for a library that is mapped; no code of it runs.
        let library = unsafe { Library::open(Some(&object.path), RTLD_NOW | libc::RTLD_NOLOAD) };
        Some((object.path, library.ok()?))
    });
    Held(held.collect())
}

/// Notes from now on what those libraries of `family` allocate whose file names `allocates` accepts, until the family frees it. One
/// thread at a time.
pub(super) fn watch(family: &Held, allocates: impl Fn(&str) -> bool) {
    let is_held = |path: &str| family.0.iter().any(|(held, _)| held == path);
    let (drivers, others): (Vec<_>, Vec<_>) = mapped(&|_| true)
        .into_iter()
        .filter(|object| is_held(&object.path))
        .partition(|object| allocates(file_name(Path::new(&object.path))));
    // All that may free comes first.
    for (objects, allocate) in [(others, false), (drivers, true)] {
        for object in objects {
            if !object.redirect(&replacements(allocate)) {
                log::debug!("{}: its use of the allocator is not watched", object.path);
                return;
            }
        }
    }
}

/// Frees what libraries that were watched have left: none may be mapped any more. Number of pieces.
pub(super) fn free_forgotten() -> usize {
    if is_off() {
        return 0;
    }
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
    /// All of it.
    range: Range<usize>,
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
    let loaded = headers.iter().filter(|h| h.p_type == libc::PT_LOAD);
    let end = loaded.map(|header| header.p_vaddr + header.p_memsz).max();
    if let Some(dynamic) = range(libc::PT_DYNAMIC) {
        let read_only = range(libc::PT_GNU_RELRO).unwrap_or(0..0);
        found.push(Object {
            path: path.to_owned(),
            base,
            range: base..base + end.unwrap_or(0) as usize,
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
    fn redirect(&self, replacements: &[Replacement]) -> bool {
        let names: Vec<_> = replacements.iter().map(|(name, ..)| *name).collect();
        let (Some(slots), Some(others)) = (self.slots(&names), self.slots(&OTHERS)) else {
            return false;
        };
        // Another allocator than ours is none of our business.
        let is_ours = |(at, slot): &(usize, *mut *mut c_void)| {
            let (_, ours, instead) = replacements[*at];
            // SAFETY: an aligned address of the library's data, which the linker has written.
            let now = unsafe { AtomicPtr::from_ptr(*slot) }.load(Ordering::Relaxed);
            // Within the library: not looked up yet.
            now == ours || now == instead || self.range.contains(&now.addr())
        };
        if !others.is_empty() || !slots.iter().all(is_ours) {
            return false;
        }
        (0..replacements.len()).all(|which| {
            let mut meant = slots.iter().filter(|(at, _)| *at == which);
            meant.all(|(_, slot)| self.put(*slot, replacements[which].2))
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
