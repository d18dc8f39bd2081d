//! Libraries of ours that stand before a vendor's, under its name.
//!
//! By name the linker finds what is loaded under it, and that is ours. A vendor's libraries that open each other by name
//! (NVIDIA's OpenCL opens `libcuda.so.1`) are to get the vendor's. So they call functions of this module where they would call
//! dlopen(3) and dlsym(3), by way of the addresses that the linker has resolved for them ([`super::relocations`]). What a library
//! opens while the linker initialises it comes before that, and is not seen.
//!
//! `unsafe`: stands in for functions of the C library.

use std::arch::naked_asm;
use std::env;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::relocations::{self, Mapped, Replacement};
use super::{ld_cache, note, paths};
use crate::trusted_env;
use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL};

/// Environment variables of this start, with the stem of a library's name behind (`XL_GPU_REAL_LIBCUDA`), say which file is the
/// vendor's.
const REAL_VARIABLE: &str = "XL_GPU_REAL_";

/// Where the linker looks last; the rest is in its cache.
const FOLDERS: [&str; 6] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

struct Front {
    name: &'static CStr,
    /// As the kernel names it.
    file: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// The vendor's, once it was wanted; a path without a file where there is none.
    real: OnceLock<CString>,
}

/// Nothing of it is ever locked: vendors open libraries whenever they like.
static FRONTS: [OnceLock<Front>; 4] = [const { OnceLock::new() }; 4];

fn fronts() -> impl Iterator<Item = &'static Front> {
    FRONTS.iter().map_while(OnceLock::get)
}

fn front_of(name: &CStr) -> Option<&'static Front> {
    fronts().find(|front| front.name == name)
}

/// The library that has `address` stands before the vendor's library of this name from now on.
///
/// # Errors
/// Where no library has the address, or its file cannot be found.
///
/// # Panics
/// At the fifth.
pub fn register(name: &'static CStr, address: *const c_void) -> std::io::Result<()> {
    let file = file_of(address).ok_or(std::io::ErrorKind::NotFound)?;
    let file = fs::canonicalize(file)?;
    let mut front = Front {
        name,
        identity: identity(&file)?,
        file,
        real: OnceLock::new(),
    };
    for place in &FRONTS {
        match place.set(front) {
            Ok(()) => return Ok(()),
            Err(again) => front = again,
        }
    }
    panic!("too many fronts");
}

/// Whether one of ours stands before the vendor's library of this name.
pub(super) fn stands_before(name: &CStr) -> bool {
    front_of(name).is_some()
}

/// Whether this file is one of ours, under whatever name: a front, or what has the name of one and leads to it.
pub(super) fn is_front(file: &Path) -> bool {
    // After an update another one of ours is there.
    let path = file.to_string_lossy();
    let file = Path::new(path.strip_suffix(" (deleted)").unwrap_or(&path));
    let stem = paths::library_stem(file.as_os_str());
    let has_name = |front: &Front| {
        let name = OsStr::from_bytes(front.name.to_bytes());
        paths::library_stem(name) == stem
    };
    fronts().any(|front| front.file == file) || fronts().any(has_name) && note::is_in(file)
}

/// The name by which to open the vendor's library: its path, or `name` itself where none of ours stands before it.
pub fn real(name: &CStr) -> &CStr {
    front_of(name).map_or(name, Front::real)
}

fn identity(file: &Path) -> std::io::Result<(u64, u64)> {
    let it = fs::metadata(file)?;
    Ok((it.dev(), it.ino()))
}

/// The file of the library that has this address, as the linker names it.
fn file_of(address: *const c_void) -> Option<&'static Path> {
    // SAFETY: all zero is a valid `Dl_info`, which dladdr(3) fills for any address; the name stays as long as the library.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        let known = libc::dladdr(address, &raw mut info) != 0 && !info.dli_fname.is_null();
        known.then(|| Path::new(OsStr::from_bytes(CStr::from_ptr(info.dli_fname).to_bytes())))
    }
}

impl Front {
    fn real(&self) -> &CStr {
        self.real.get_or_init(|| {
            let file = self.find().unwrap_or_else(|| {
                let name = self.name.to_string_lossy();
                log::info!("no other {name} than ours is found: what needs it will not work");
                Path::new("/dev/null").join(&*name)
            });
            CString::new(file.into_os_string().into_vec()).unwrap_or_default()
        })
    }

    /// The first file of the name that is none of ours, where the linker would look for it.
    fn find(&self) -> Option<PathBuf> {
        let name = self.name.to_str().ok()?;
        let stem = name.split('.').next()?.to_uppercase();
        if let Some(file) = trusted_env::var_os(&format!("{REAL_VARIABLE}{stem}")) {
            let file = PathBuf::from(file);
            if file.is_file() && !note::is_in(&file) {
                return Some(file);
            }
            log::warn!(
                "{REAL_VARIABLE}{stem}={}: not a library of a vendor's",
                file.display()
            );
            return None;
        }
        let path = trusted_env::var_os("LD_LIBRARY_PATH");
        // An empty part is the working directory, as for the linker; with a slash in it, the linker takes it for a path.
        let first = path
            .iter()
            .flat_map(env::split_paths)
            .map(|folder| Path::new(".").join(folder).join(name));
        let last = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
        let mut all = first.chain(ld_cache::find(name)).chain(last);
        all.find(|file| {
            let found = identity(file);
            let is_other = |found| fronts().all(|front| front.identity != found);
            found.is_ok_and(is_other) && !note::is_in(file)
        })
    }
}

/// What the names of a library's functions start with.
const PREFIXES: [(&CStr, &str); 1] = [(c"libcuda.so.1", "cu")];

/// Has those mapped libraries whose file names `is_vendors` accepts open by name what the vendor's are, and call those that they are
/// linked to. Waits for whatever the linker does in other threads. What is called has to stay open as long as they are.
pub(super) fn mend(is_vendors: impl Fn(&str) -> bool) -> Vec<Library> {
    let mut called = Vec::new();
    if fronts().next().is_none() {
        return called;
    }
    let instead: [Replacement; 2] = [
        (c"dlopen", libc::dlopen as *mut c_void, open as *mut c_void),
        (c"dlsym", libc::dlsym as *mut c_void, look_up as *mut c_void),
    ];
    for library in relocations::hold(is_vendors).libraries() {
        if !is_front(Path::new(&library.path)) && !library.redirect(&instead) {
            log::warn!(
                "{}: may take a library of ours for a driver's",
                library.path
            );
        }
        called.extend(fronts().filter_map(|front| front.rebind(&library)));
    }
    called
}

impl Front {
    /// Has a library that is linked to the vendor's, but bound to ours, which comes first, call the vendor's; that one, where it does.
    fn rebind(&self, library: &Mapped) -> Option<Library> {
        let (_, prefix) = PREFIXES.iter().find(|(name, _)| *name == self.name)?;
        let mut real = None;
        let done = library.rebind(prefix, |name, known| {
            // SAFETY: only the address is taken.
            let ours =
                known.unwrap_or_else(|| unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) });
            let file = file_of(ours).and_then(|file| fs::canonicalize(file).ok());
            if file.as_deref() != Some(&*self.file) {
                return None;
            }
            let real = real.get_or_insert_with(|| {
                let path = OsStr::from_bytes(self.real().to_bytes());
                // SAFETY: the initialisers of the library that the linker would give the vendor's.
                unsafe { Library::open(Some(path), RTLD_LAZY | RTLD_LOCAL) }.ok()
            });
            // SAFETY: only the address is taken.
            let found = unsafe { real.as_ref()?.get::<*mut c_void>(name.to_bytes_with_nul()) };
            found.ok().map(|found| found.into_raw())
        });
        if !done {
            log::warn!(
                "{}: may call a library of ours for a driver's",
                library.path
            );
        }
        real.flatten()
    }
}

/// dlopen(3), which looks at who calls it: so it is jumped to.
#[unsafe(naked)]
unsafe extern "C" fn open(_name: *const c_char, _flags: c_int) -> *mut c_void {
    naked_asm!(
        "push rsi",
        "call {to_open}",
        "pop rsi",
        "mov rdi, rax",
        "jmp [rip + {dlopen}@GOTPCREL]",
        to_open = sym to_open,
        dlopen = sym libc::dlopen,
    )
}

extern "C" fn to_open(name: *const c_char) -> *const c_char {
    if name.is_null() {
        return name;
    }
    // SAFETY: dlopen(3) takes a C string.
    real(unsafe { CStr::from_ptr(name) }).as_ptr()
}

/// dlsym(3), likewise.
#[unsafe(naked)]
unsafe extern "C" fn look_up(_handle: *mut c_void, _name: *const c_char) -> *mut c_void {
    naked_asm!(
        "push rdi",
        "push rsi",
        "sub rsp, 8",
        "call {real_symbol}",
        "add rsp, 8",
        "pop rsi",
        "pop rdi",
        "test rax, rax",
        "jz 2f",
        "ret",
        "2: jmp [rip + {dlsym}@GOTPCREL]",
        real_symbol = sym real_symbol,
        dlsym = sym libc::dlsym,
    )
}

/// Where the whole process is searched and a front of ours is found: what the vendor's library has of that name, if it is open.
extern "C" fn real_symbol(handle: *mut c_void, name: *const c_char) -> *mut c_void {
    let none = std::ptr::null_mut();
    if handle != libc::RTLD_DEFAULT {
        return none;
    }
    // SAFETY: as dlsym(3) and dlopen(3) want it; with RTLD_NOLOAD no code of a library runs.
    unsafe {
        let found = libc::dlsym(libc::RTLD_DEFAULT, name);
        let file = file_of(found).and_then(|file| fs::canonicalize(file).ok());
        let Some(front) = fronts().find(|front| file.as_deref() == Some(&*front.file)) else {
            return none;
        };
        let library = libc::dlopen(front.real().as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        if library.is_null() {
            return none;
        }
        let found = libc::dlsym(library, name);
        libc::dlclose(library);
        found
    }
}
