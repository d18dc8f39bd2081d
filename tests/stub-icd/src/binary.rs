//! Program binaries: good for the device and driver version that made them, and for no other.
//!
//! Text lines: magic, checksum (16 hex digits, FNV-1a of all that follows), device name, driver version, binary type,
//! whether there is argument info; then the source.

use opencl_sys::CL_INVALID_BINARY;

use crate::core::device::Device;
use crate::ffi::CLResult;

const MAGIC: &str = "xl-gpu stub binary 1";

/// What a binary carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// `CL_PROGRAM_BINARY_TYPE`.
    pub kind: u32,
    pub has_arg_info: bool,
    pub source: String,
}

fn checksum(text: &str) -> String {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
}

pub fn write(device: &Device, content: &Content) -> Vec<u8> {
    encode(&device.name, &device.driver, content)
}

/// Reads a binary for a device.
///
/// # Errors
/// `CL_INVALID_BINARY` for one that is damaged, or made by another device or driver version.
pub fn read(device: &Device, bytes: &[u8]) -> CLResult<Content> {
    decode(&device.name, &device.driver, bytes).ok_or(CL_INVALID_BINARY)
}

fn encode(name: &str, driver: &str, content: &Content) -> Vec<u8> {
    let Content {
        kind,
        has_arg_info,
        source,
    } = content;
    let body = format!("{name}\n{driver}\n{kind}\n{has_arg_info}\n{source}");
    format!("{MAGIC}\n{}\n{body}", checksum(&body)).into_bytes()
}

fn decode(name: &str, driver: &str, bytes: &[u8]) -> Option<Content> {
    let text = std::str::from_utf8(bytes)
        .ok()?
        .strip_prefix(MAGIC)?
        .strip_prefix('\n')?;
    let (sum, body) = text.split_once('\n')?;
    let rest = (checksum(body) == sum).then_some(body)?;
    let rest = rest.strip_prefix(name)?.strip_prefix('\n')?;
    let (kind, source) = rest
        .strip_prefix(driver)?
        .strip_prefix('\n')?
        .split_once('\n')?;
    let (has_arg_info, source) = source.split_once('\n')?;
    Some(Content {
        kind: kind.parse().ok()?,
        has_arg_info: has_arg_info.parse().ok()?,
        source: source.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_only_on_the_same_device_and_driver() {
        let content = Content {
            kind: 4,
            has_arg_info: true,
            source: "kernel\nvoid".to_owned(),
        };
        let binary = encode("GPU", "1.0", &content);
        assert_eq!(decode("GPU", "1.0", &binary), Some(content));
        assert_eq!(decode("Other", "1.0", &binary), None);
        assert_eq!(decode("GPU", "2.0", &binary), None);
        for at in 0..binary.len() {
            let mut damaged = binary.clone();
            damaged[at] ^= 1;
            assert_eq!(decode("GPU", "1.0", &damaged), None, "byte {at}");
        }
    }
}
