//! Messages to whoever runs `xl`.
//!
//! libxl-save-helper gives libxenctrl a logger that carries messages to libxl, which shows them where its caller wants
//! them (xl: on stderr, libvirt: in the domain's log). The plugin uses the same logger, so its messages stand between
//! libxc's. Before there is one they go to stderr, which is xl's own.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::io::Write;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use xen_bindings::guest::{Version, xentoollog_level};

use super::originals;

/// Longest message, in bytes: the helper's protocol has room for less than 64 KiB.
const LONGEST: usize = 2000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Shown with `xl -v`.
    Detail,
    /// Shown by xl, as libxc's own progress is.
    Progress,
    Warning,
    Error,
}

static LOGGER: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// `xtl_log` of libxentoollog, which the helper is linked to.
type Log = unsafe extern "C" fn(*mut c_void, c_uint, c_int, *const c_char, *const c_char, ...);

/// Remembers the logger and goes on to the original.
///
/// # Safety
/// As `xc_interface_open`. The first logger given must live as long as the process; the helper's is a static.
pub unsafe extern "C" fn xc_interface_open(
    logger: *mut c_void,
    dombuild: *mut c_void,
    flags: c_uint,
) -> *mut c_void {
    let _ = LOGGER.compare_exchange(null_mut(), logger, Ordering::AcqRel, Ordering::Acquire);
    match originals::get() {
        // SAFETY: the caller's own arguments.
        Some(originals) => unsafe { (originals.interface_open)(logger, dombuild, flags) },
        None => null_mut(),
    }
}

/// Says one formatted line at a [`Level`].
macro_rules! say {
    ($level:ident, $($text:tt)*) => {
        $crate::messages::say_line($crate::messages::Level::$level, &format!($($text)*))
    };
}
pub(crate) use say;

/// Says one line. Only while libxenguest or the helper is inside the plugin: the helper's channel to libxl carries
/// one message at a time.
pub fn say_line(level: Level, text: &str) {
    let text = clean(text);
    let logger = LOGGER.load(Ordering::Acquire);
    match (xtl_log(), CString::new(text.as_str())) {
        (Some(log), Ok(line)) if !logger.is_null() => {
            let level = match level {
                Level::Detail => xentoollog_level::XTL_DETAIL,
                Level::Progress => xentoollog_level::XTL_PROGRESS,
                Level::Warning => xentoollog_level::XTL_WARN,
                Level::Error => xentoollog_level::XTL_ERROR,
            };
            // SAFETY: the logger was given to libxenctrl for the life of the process, the strings are NUL-terminated,
            // and the format takes one string. -1: no errno belongs to the message.
            unsafe {
                log(
                    logger,
                    level,
                    -1,
                    c"xl-gpu".as_ptr(),
                    c"%s".as_ptr(),
                    line.as_ptr(),
                )
            };
        }
        _ if matches!(level, Level::Warning | Level::Error) => {
            let _ = writeln!(std::io::stderr(), "xl-gpu: {text}");
        }
        _ => {}
    }
}

/// Says why the plugin does nothing.
pub fn unknown_version(version: Option<Version>) {
    let (first, last) = (Version::FIRST, Version::LAST);
    let found = version.map_or_else(
        || "a libxenguest of unknown version".into(),
        |v| format!("libxenguest {v}"),
    );
    say!(
        Warning,
        "{found} is not one of {first} to {last}: GPU state is left alone"
    );
}

fn xtl_log() -> Option<Log> {
    static LOG: OnceLock<Option<Log>> = OnceLock::new();
    *LOG.get_or_init(|| {
        let name: &CStr = c"xtl_log";
        // SAFETY: a NUL-terminated name.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        // SAFETY: xentoollog.h declares the function of that name so; its ABI is stable (libxentoollog.so.1).
        (!address.is_null()).then(|| unsafe { std::mem::transmute::<*mut c_void, Log>(address) })
    })
}

/// One line of bounded length without control characters: some of it comes from a guest.
fn clean(text: &str) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if line.len() > LONGEST {
        let end = (0..=LONGEST)
            .rev()
            .find(|&i| line.is_char_boundary(i))
            .unwrap_or(0);
        line.truncate(end);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_clean() {
        assert_eq!(clean("a\nb\u{1b}[31m"), "a b [31m");
        assert_eq!(clean(&"é".repeat(5000)).len(), LONGEST);
    }
}
