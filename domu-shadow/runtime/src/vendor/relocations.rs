//! The addresses through which a mapped library calls functions of others (ELF `JUMP_SLOT`, `GLOB_DAT`, `64`), and other ones in
//! their place.
//!
//! `unsafe`: reads the dynamic sections that the dynamic linker has mapped and relocated (ELF gABI, chapter 5), and writes
//! relocated addresses.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ops::Range;
use std::path::Path;
use std::slice;
use std::sync::atomic::{AtomicPtr, Ordering};

use libloading::os::unix::{Library, RTLD_NOW};

use super::paths::file_name;

/// A function of another library: its name, its address as this library has it, and what is called instead.
pub(super) type Replacement = (&'static CStr, *mut c_void, *mut c_void);

/// Mapped libraries, with a reference each, which the linker gives when it is done with that library: none is half relocated or
/// goes away.
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

impl Held {
    pub(super) fn libraries(&self) -> Vec<Mapped> {
        let mut all = mapped(&|_| true);
        all.retain(|library| self.0.iter().any(|(held, _)| *held == library.path));
        all
    }
}

/// A mapped library.
pub(super) struct Mapped {
    pub(super) path: String,
    base: usize,
    /// All of it.
    range: Range<usize>,
    dynamic: Range<usize>,
    /// What the linker has made read-only, whole pages.
    read_only: Range<usize>,
}

type Meant<'f> = &'f dyn Fn(&str) -> bool;

fn mapped(is_meant: Meant<'_>) -> Vec<Mapped> {
    let mut seek = (Vec::new(), is_meant);
    // SAFETY: `look` gets the pointer to `seek`, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut seek).cast()) };
    seek.0
}

unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, seek: *mut c_void) -> c_int {
    // SAFETY: `mapped` passed this pair, and the linker passes a valid description.
    let (info, (found, is_meant)) =
        unsafe { (&*info, &mut *seek.cast::<(Vec<Mapped>, Meant<'_>)>()) };
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
        found.push(Mapped {
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

// gABI, figures 5-10 (dynamic array tags) and, of the x86-64 psABI, 4.9 (relocation types).
const DT_PLTRELSZ: i64 = 2;
const DT_STRTAB: i64 = 5;
const DT_SYMTAB: i64 = 6;
const DT_RELA: i64 = 7;
const DT_RELASZ: i64 = 8;
const DT_JMPREL: i64 = 23;
const SHN_UNDEF: u16 = 0;
const R_X86_64_64: u32 = 1;
const R_X86_64_GLOB_DAT: u32 = 6;
const R_X86_64_JUMP_SLOT: u32 = 7;

const PAGE: usize = 4096;

impl Mapped {
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

    /// Whether it calls one of these functions of other libraries, or may.
    pub(super) fn looks_up(&self, names: &[&CStr]) -> bool {
        self.slots(names).is_none_or(|slots| !slots.is_empty())
    }

    /// Where the library looks up one of `names`, with that one's index.
    fn slots(&self, names: &[&CStr]) -> Option<Vec<(usize, *mut *mut c_void)>> {
        let all = self.all_slots()?.into_iter();
        let named = all.filter_map(|(name, slot)| {
            let at = names.iter().position(|wanted| *wanted == name)?;
            Some((at, slot))
        });
        Some(named.collect())
    }

    /// Where the library looks up functions of others, with their names.
    fn all_slots(&self) -> Option<Vec<(&CStr, *mut *mut c_void)>> {
        let symbols = self.table::<libc::Elf64_Sym>(DT_SYMTAB)?;
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
                let (symbol, name) = unsafe {
                    let symbol = &*symbols.add((relocation.info >> 32) as usize);
                    (symbol, CStr::from_ptr(strings.add(symbol.st_name as usize)))
                };
                if symbol.st_shndx != SHN_UNDEF {
                    continue; // its own function
                }
                let slot = self.base + relocation.offset as usize;
                slots.push((name, std::ptr::with_exposed_provenance_mut(slot)));
            }
        }
        Some(slots)
    }

    /// Puts the replacements in their places, the first one first; false if that could not be done, or if what it calls is not
    /// what this library would.
    pub(super) fn redirect(&self, replacements: &[Replacement]) -> bool {
        let names: Vec<_> = replacements.iter().map(|(name, ..)| *name).collect();
        let Some(slots) = self.slots(&names) else {
            return false;
        };
        let is_ours = |(at, slot): &(usize, *mut *mut c_void)| {
            let (_, ours, instead) = replacements[*at];
            // SAFETY: an aligned address of the library's data, which the linker has written.
            let now = unsafe { AtomicPtr::from_ptr(*slot) }.load(Ordering::Relaxed);
            // Within the library: not looked up yet.
            now == ours || now == instead || self.range.contains(&now.addr())
        };
        if !slots.iter().all(is_ours) {
            return false;
        }
        (0..replacements.len()).all(|which| {
            let mut meant = slots.iter().filter(|(at, _)| *at == which);
            meant.all(|(_, slot)| self.put(*slot, replacements[which].2))
        })
    }

    /// Puts what `instead` says in the place of functions whose names start with `prefix`: it gets the name and the address as the
    /// library has it, `None` where that has not been looked up yet. False if one could not be put there.
    pub(super) fn rebind(
        &self,
        prefix: &str,
        mut instead: impl FnMut(&CStr, Option<*mut c_void>) -> Option<*mut c_void>,
    ) -> bool {
        let slots = self.all_slots().unwrap_or_default().into_iter();
        let mut meant = slots.filter(|(name, _)| name.to_bytes().starts_with(prefix.as_bytes()));
        meant.all(|(name, slot)| {
            // SAFETY: an aligned address of the library's data, which the linker has written.
            let now = unsafe { AtomicPtr::from_ptr(slot) }.load(Ordering::Relaxed);
            let known = (!self.range.contains(&now.addr())).then_some(now);
            instead(name, known).is_none_or(|function| self.put(slot, function))
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
