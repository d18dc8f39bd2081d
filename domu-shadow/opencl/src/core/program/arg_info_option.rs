//! The option by which builds tell buffers from numbers, added behind the program's back.

use std::ffi::CString;

/// Asks for the info that tells buffers from numbers.
const ARG_INFO_OPTION: &[u8] = b"-cl-kernel-arg-info";

/// Whether options ask for argument info.
pub fn has_arg_info(options: Option<&CString>) -> bool {
    options.is_some_and(|options| {
        let mut each = options.as_bytes().split(u8::is_ascii_whitespace);
        each.any(|option| option == ARG_INFO_OPTION)
    })
}

/// The program's options behind ours, which so becomes no part of one that was left unfinished.
pub(super) fn with_arg_info(options: Option<&CString>) -> CString {
    let mut all = ARG_INFO_OPTION.to_vec();
    if let Some(options) = options {
        all.push(b' ');
        all.extend_from_slice(options.as_bytes());
    }
    CString::new(all).unwrap_or_default()
}

/// A build log as the program would have it: some drivers (Intel's) name the options there.
pub fn without_our_option(mut log: Vec<u8>) -> Vec<u8> {
    let length = ARG_INFO_OPTION.len();
    let mut all = log.windows(length);
    if let Some(at) = all.position(|part| part == ARG_INFO_OPTION) {
        let end = at + length;
        let space = usize::from(log.get(end) == Some(&b' '));
        log.drain(at..end + space);
    }
    log
}
