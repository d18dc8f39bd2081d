//! What kind of argument a kernel takes, by what the driver tells of it.

use opencl_sys::{
    CL_KERNEL_ARG_ACCESS_READ_ONLY, CL_KERNEL_ARG_ACCESS_READ_WRITE,
    CL_KERNEL_ARG_ACCESS_WRITE_ONLY, CL_KERNEL_ARG_ADDRESS_CONSTANT, CL_KERNEL_ARG_ADDRESS_GLOBAL,
    CL_KERNEL_ARG_ADDRESS_LOCAL, CL_KERNEL_ARG_TYPE_CONST, CL_KERNEL_ARG_TYPE_PIPE,
};

use crate::core::program::signature::ArgInfo;

/// What the kernel's signature says about an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    /// A `cl_mem`; whether the kernel may write through it.
    Mem { writable: bool },
    /// A `cl_sampler`.
    Sampler,
    /// A `cl_command_queue` on the device (`queue_t`).
    Queue,
    /// `__local` memory: only a size.
    Local,
    /// Bytes.
    Value,
    /// No argument info (a binary built without it): eight bytes that are a live handle are one.
    Unknown,
}

/// The kind of an argument.
pub(super) fn kind(info: &ArgInfo) -> ArgKind {
    let [address, access, type_name, qualifier, _] = info;
    let access = number_of(access);
    let Some(address) = number_of(address) else {
        return ArgKind::Unknown;
    };
    let qualifier = qualifier
        .as_ref()
        .and_then(|bytes| bytes.first_chunk())
        .map_or(0, |b| u64::from_ne_bytes(*b));
    match address {
        CL_KERNEL_ARG_ADDRESS_GLOBAL => ArgKind::Mem {
            writable: qualifier & u64::from(CL_KERNEL_ARG_TYPE_CONST) == 0,
        },
        CL_KERNEL_ARG_ADDRESS_CONSTANT => ArgKind::Mem { writable: false },
        CL_KERNEL_ARG_ADDRESS_LOCAL => ArgKind::Local,
        // Drivers differ in where they say images and pipes are. The names are OpenCL C's own, those of a program's
        // structures may begin like them.
        _ => match name_of(type_name) {
            b"sampler_t" => ArgKind::Sampler,
            b"queue_t" => ArgKind::Queue,
            name if is_image(access) || IMAGES.contains(&name) || is_pipe(qualifier, name) => {
                ArgKind::Mem {
                    writable: access != Some(CL_KERNEL_ARG_ACCESS_READ_ONLY),
                }
            }
            _ => ArgKind::Value,
        },
    }
}

/// The types of images, for drivers that don't tell the access.
const IMAGES: [&[u8]; 12] = [
    b"image1d_t",
    b"image1d_array_t",
    b"image1d_buffer_t",
    b"image2d_t",
    b"image2d_array_t",
    b"image2d_depth_t",
    b"image2d_array_depth_t",
    b"image2d_msaa_t",
    b"image2d_array_msaa_t",
    b"image2d_msaa_depth_t",
    b"image2d_array_msaa_depth_t",
    b"image3d_t",
];

fn is_image(access: Option<u32>) -> bool {
    const SAID: [u32; 3] = [
        CL_KERNEL_ARG_ACCESS_READ_ONLY,
        CL_KERNEL_ARG_ACCESS_WRITE_ONLY,
        CL_KERNEL_ARG_ACCESS_READ_WRITE,
    ];
    access.is_some_and(|access| SAID.contains(&access))
}

fn is_pipe(qualifier: u64, name: &[u8]) -> bool {
    qualifier & u64::from(CL_KERNEL_ARG_TYPE_PIPE) != 0 || name.starts_with(b"pipe ")
}

/// A type's name as the driver gives it, without the zero.
fn name_of(bytes: &Option<Vec<u8>>) -> &[u8] {
    let bytes = bytes.as_deref().unwrap_or_default();
    bytes.strip_suffix(b"\0").unwrap_or(bytes)
}

fn number_of(bytes: &Option<Vec<u8>>) -> Option<u32> {
    let bytes = bytes.as_ref()?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Option<Vec<u8>> {
        Some(bytes.to_vec())
    }

    fn info(address: u32, type_name: &[u8], qualifier: u64) -> ArgInfo {
        [
            text(&address.to_ne_bytes()),
            None,
            text(type_name),
            text(&qualifier.to_ne_bytes()),
            None,
        ]
    }

    #[test]
    fn argument_info_decides() {
        let global = CL_KERNEL_ARG_ADDRESS_GLOBAL;
        let private = opencl_sys::CL_KERNEL_ARG_ADDRESS_PRIVATE;
        assert_eq!(
            kind(&info(global, b"float*\0", 0)),
            ArgKind::Mem { writable: true }
        );
        assert_eq!(
            kind(&info(global, b"float*\0", CL_KERNEL_ARG_TYPE_CONST.into())),
            ArgKind::Mem { writable: false }
        );
        assert_eq!(
            kind(&info(CL_KERNEL_ARG_ADDRESS_CONSTANT, b"int*\0", 0)),
            ArgKind::Mem { writable: false }
        );
        assert_eq!(
            kind(&info(CL_KERNEL_ARG_ADDRESS_LOCAL, b"int*\0", 0)),
            ArgKind::Local
        );
        assert_eq!(kind(&info(private, b"ulong\0", 0)), ArgKind::Value);
        assert_eq!(
            kind(&info(private, b"image2d_t\0", 0)),
            ArgKind::Mem { writable: true }
        );
        let mut read_only = info(private, b"image2d_t\0", 0);
        read_only[1] = text(&CL_KERNEL_ARG_ACCESS_READ_ONLY.to_ne_bytes());
        assert_eq!(kind(&read_only), ArgKind::Mem { writable: false });
        let mut pipe = info(private, b"int\0", CL_KERNEL_ARG_TYPE_PIPE.into());
        assert_eq!(kind(&pipe), ArgKind::Mem { writable: true });
        pipe = info(private, b"pipe int\0", 0);
        assert_eq!(kind(&pipe), ArgKind::Mem { writable: true });
        for structure in [
            &b"image_size\0"[..],
            b"image2d_size_t\0",
            b"sampler_params\0",
            b"queue_t_head\0",
            b"pipeline\0",
        ] {
            assert_eq!(kind(&info(private, structure, 0)), ArgKind::Value);
        }
        assert_eq!(kind(&info(private, b"sampler_t\0", 0)), ArgKind::Sampler);
        assert_eq!(kind(&info(private, b"queue_t\0", 0)), ArgKind::Queue);
        assert_eq!(kind(&[None, None, None, None, None]), ArgKind::Unknown);
    }
}
