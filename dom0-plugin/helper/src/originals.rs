//! The functions the plugin stands in front of, and the version of the libxenguest they are in.

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulong, c_void};
use std::sync::OnceLock;

use xen_bindings::guest::{SaveCallbacks, Version, xc_stream_type_t};

/// `xc_domain_save`, Xen 4.14 to 4.22.
pub type Save = unsafe extern "C" fn(
    *mut c_void,
    c_int,
    u32,
    u32,
    *mut SaveCallbacks,
    xc_stream_type_t::Type,
    c_int,
) -> c_int;
/// `xc_domain_restore`, Xen 4.22; the versions before it lack the last parameter.
pub type Restore = unsafe extern "C" fn(
    *mut c_void,
    c_int,
    u32,
    c_uint,
    *mut c_ulong,
    u32,
    c_uint,
    *mut c_ulong,
    u32,
    xc_stream_type_t::Type,
    *mut c_void,
    c_int,
    c_uint,
) -> c_int;
/// `read_exact` of libxenctrl: 0, or -1 with `errno` (0 at the end of the file).
pub type ReadExact = unsafe extern "C" fn(c_int, *mut c_void, usize) -> c_int;
/// `xc_shadow_control`, Xen 4.14 and 4.15; the versions after them take the first three and two more.
pub type ShadowControl =
    unsafe extern "C" fn(usize, u32, c_uint, usize, usize, usize, usize, usize) -> c_int;
/// `xc_interface_open`
pub type InterfaceOpen = unsafe extern "C" fn(*mut c_void, *mut c_void, c_uint) -> *mut c_void;

/// `xc__hypercall_buffer_alloc_pages`: the handle, a descriptor of the buffer, pages.
pub type AllocPages = unsafe extern "C" fn(usize, usize, c_int) -> *mut c_void;
/// `xc__hypercall_buffer_free_pages`
pub type FreePages = unsafe extern "C" fn(usize, usize, c_int);

/// Addresses of the originals. [`Symbols::find`] finds all of them, but for the last two, or nothing.
#[derive(Debug, Clone, Copy)]
pub struct Symbols {
    pub save: *mut c_void,
    pub restore: *mut c_void,
    pub shadow_control: *mut c_void,
    pub read_exact: *mut c_void,
    pub interface_open: *mut c_void,
    /// NULL where libxenctrl has them no more; then nobody calls them.
    pub alloc_pages: *mut c_void,
    pub free_pages: *mut c_void,
    /// `None` when the library's name does not say.
    pub version: Option<Version>,
}

/// The originals as functions, in a process whose libxenguest is of a known version.
#[derive(Debug, Clone, Copy)]
pub struct Originals {
    pub save: Save,
    pub restore: Restore,
    pub shadow_control: ShadowControl,
    pub read_exact: ReadExact,
    pub interface_open: InterfaceOpen,
    pub buffers: Option<(AllocPages, FreePages)>,
    pub version: Version,
}

static ORIGINALS: OnceLock<Originals> = OnceLock::new();

impl Symbols {
    /// Looks behind the plugin in the search order. `None` in a process without libxenguest.
    pub fn find() -> Option<Self> {
        let save = next(c"xc_domain_save")?;
        Some(Self {
            save,
            restore: next(c"xc_domain_restore")?,
            shadow_control: next(c"xc_shadow_control")?,
            read_exact: next(c"read_exact")?,
            interface_open: next(c"xc_interface_open")?,
            alloc_pages: next(c"xc__hypercall_buffer_alloc_pages").unwrap_or(std::ptr::null_mut()),
            free_pages: next(c"xc__hypercall_buffer_free_pages").unwrap_or(std::ptr::null_mut()),
            version: library_of(save)
                .as_deref()
                .and_then(Version::from_library_path),
        })
    }

    /// The functions, if their prototypes are known.
    pub fn known(&self) -> Option<&'static Originals> {
        let version = self.version.filter(|v| v.is_known())?;
        // SAFETY: these are the addresses of the functions of those names in a library of a version in which they
        // have these prototypes. `restore` and `shadow_control` may lack the last ones, which their callers allow for.
        Some(ORIGINALS.get_or_init(|| unsafe {
            Originals {
                save: std::mem::transmute::<*mut c_void, Save>(self.save),
                restore: std::mem::transmute::<*mut c_void, Restore>(self.restore),
                shadow_control: std::mem::transmute::<*mut c_void, ShadowControl>(
                    self.shadow_control,
                ),
                read_exact: std::mem::transmute::<*mut c_void, ReadExact>(self.read_exact),
                interface_open: std::mem::transmute::<*mut c_void, InterfaceOpen>(
                    self.interface_open,
                ),
                buffers: (!self.alloc_pages.is_null() && !self.free_pages.is_null()).then(|| {
                    (
                        std::mem::transmute::<*mut c_void, AllocPages>(self.alloc_pages),
                        std::mem::transmute::<*mut c_void, FreePages>(self.free_pages),
                    )
                }),
                version,
            }
        }))
    }
}

/// The originals, once [`Symbols::known`] found them.
pub fn get() -> Option<&'static Originals> {
    ORIGINALS.get()
}

fn next(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a NUL-terminated name; the symbol is not called here.
    let address = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

/// Path of the library that an address belongs to.
fn library_of(address: *mut c_void) -> Option<String> {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null::<c_char>(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: dladdr takes any address, and `info` is its to fill.
    if unsafe { libc::dladdr(address, &raw mut info) } == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: a NUL-terminated string of the dynamic linker, which lives as long as the library stays loaded.
    Some(
        unsafe { CStr::from_ptr(info.dli_fname) }
            .to_string_lossy()
            .into_owned(),
    )
}
