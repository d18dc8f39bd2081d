//! The layers around GPU records: xl's file header, libxl's stream, libxc's stream.
//!
//! Sources in Xen's tree: `tools/xl/xl.h` (`struct save_file_header`), `docs/specs/libxl-migration-stream.pandoc`,
//! `docs/specs/libxc-migration-stream.pandoc`.

use std::io::Read;

use serde::Deserialize;

use super::error::{VerifyError, VerifyFault};
use super::input::Input;
use super::report::{Container, GpuReport, LibxcReport, Report};
use super::sink::Tally;
use crate::libxc::{self, IMAGE_HEADER_BYTES, ImageError, OPTIONAL, RECORD_MAX, RecordHeader};
use crate::reader::StreamLimits;
use crate::receiver::Receiver;
use crate::wire::is_gpu_type;

const XL_MAGIC: &[u8; 32] = b"Xen saved domain, xl format\n \0 \r";
const XL_BYTE_ORDER: u32 = 0x0102_0304;
const XL_JSON: u32 = 1 << 0;
const XL_STREAM_V2: u32 = 1 << 1;
/// A domain's configuration is a few KiB.
const XL_OPTIONAL_MAX: u32 = 16 << 20;

const LIBXL_IDENT: [u8; 8] = *b"LibxlFmt";
const LIBXL_END: u32 = 0;
const LIBXL_LIBXC_CONTEXT: u32 = 1;
const LIBXL_CHECKPOINT_END: u32 = 4;
const LIBXL_CHECKPOINT_STATE: u32 = 5;

const BIG_ENDIAN: u32 = 1 << 0;

/// Walks the whole input, whatever its outermost layer is.
pub(super) fn walk<R: Read>(input: &mut Input<R>) -> Result<Report, VerifyError> {
    let mut domain = None;
    let mut start: [u8; 8] = input.array("the first header")?;
    let mut container = Container::Libxc;
    if start[..] == XL_MAGIC[..8] {
        container = Container::XlSave;
        domain = xl_header(input)?;
        start = input.array("the libxl header")?;
    }
    let libxc = match start {
        LIBXL_IDENT => {
            if container != Container::XlSave {
                container = Container::Libxl;
            }
            libxl(input)?
        }
        libxc::MARKER if container == Container::Libxc => Some(libxc_stream(input)?),
        other => return Err(at(input.offset() - 8, VerifyFault::NotAStream(other))),
    };
    let (libxc, gpu) = libxc.unzip();
    let stream_bytes = input.offset();
    let trailing_bytes = input.drain()?;
    Ok(Report {
        container,
        domain,
        stream_bytes,
        trailing_bytes,
        libxc,
        gpu: gpu.flatten(),
    })
}

fn at(offset: u64, fault: VerifyFault) -> VerifyError {
    VerifyError { offset, fault }
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

fn word_be(bytes: &[u8], offset: usize) -> u32 {
    word(bytes, offset).swap_bytes()
}

/// The rest of `struct save_file_header` after 8 bytes, and the configuration; gives the domain's name.
fn xl_header<R: Read>(input: &mut Input<R>) -> Result<Option<String>, VerifyError> {
    let start = input.offset() - 8;
    let bad = |text: String| at(start, VerifyFault::XlHeader(text));
    let rest: [u8; 40] = input.array("the xl header")?;
    if rest[..24] != XL_MAGIC[8..] {
        return Err(bad("its magic is not whole".to_owned()));
    }
    let [byte_order, mandatory, optional_len] = [24, 28, 36].map(|offset| word(&rest, offset));
    if byte_order != XL_BYTE_ORDER {
        return Err(bad(format!("byte order {byte_order:#010x}")));
    }
    if mandatory & !(XL_JSON | XL_STREAM_V2) != 0 || mandatory & XL_STREAM_V2 == 0 {
        return Err(bad(format!("mandatory flags {mandatory:#x}")));
    }
    if optional_len > XL_OPTIONAL_MAX {
        return Err(bad(format!("{optional_len} bytes of configuration")));
    }
    let optional = input.bytes(optional_len as usize, "the domain's configuration")?;
    Ok(if mandatory & XL_JSON != 0 {
        domain_name(&optional)
    } else {
        None
    })
}

/// The domain's name out of xl's optional data (length, then JSON with its NUL); `None` if it is not there.
fn domain_name(optional: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Config {
        c_info: Info,
    }
    #[derive(Deserialize)]
    struct Info {
        name: String,
    }
    let len = word(optional.get(..4)?, 0) as usize;
    let json = optional.get(4..)?.get(..len)?;
    let json = json.strip_suffix(b"\0").unwrap_or(json);
    let config: Config = serde_json::from_slice(json).ok()?;
    Some(config.c_info.name)
}

type Libxc = (LibxcReport, Option<GpuReport>);

/// A libxl stream after its ident, to its END.
fn libxl<R: Read>(input: &mut Input<R>) -> Result<Option<Libxc>, VerifyError> {
    let start = input.offset() - 8;
    let bad = |text: String| at(start, VerifyFault::LibxlHeader(text));
    let header: [u8; 8] = input.array("the libxl header")?;
    let (version, options) = (word_be(&header, 0), word_be(&header, 4));
    if version != 2 {
        return Err(bad(format!("version {version}")));
    }
    if options & BIG_ENDIAN != 0 {
        return Err(bad("big-endian".to_owned()));
    }
    let mut found = None;
    loop {
        let start = input.offset();
        let header = RecordHeader::from_bytes(input.array("a libxl record header")?);
        let RecordHeader {
            record_type,
            length,
        } = header;
        let bad = |problem| bad_record("libxl", start, header, problem);
        match record_type {
            LIBXL_CHECKPOINT_END | LIBXL_CHECKPOINT_STATE => {
                return Err(bad(
                    "a checkpointed (Remus or COLO) stream, which cannot carry GPU state",
                ));
            }
            6..OPTIONAL => return Err(bad("unknown type")),
            _ if length > RECORD_MAX => return Err(bad("too long")),
            _ => {}
        }
        input.skip(header.padded_length(), "a libxl record")?;
        match record_type {
            LIBXL_END => return Ok(found),
            LIBXL_LIBXC_CONTEXT if found.is_some() => return Err(bad("a second libxc stream")),
            LIBXL_LIBXC_CONTEXT => {
                let start = input.offset();
                let marker: [u8; 8] = input.array("the libxc image header")?;
                if marker != libxc::MARKER {
                    return Err(at(start, ImageError::Marker(marker).into()));
                }
                found = Some(libxc_stream(input)?);
            }
            _ => {}
        }
    }
}

fn bad_record(
    layer: &'static str,
    start: u64,
    header: RecordHeader,
    problem: &'static str,
) -> VerifyError {
    let RecordHeader {
        record_type,
        length,
    } = header;
    let fault = VerifyFault::Record {
        layer,
        record_type,
        length,
        problem,
    };
    at(start, fault)
}

/// A libxc stream after its marker, to its END.
fn libxc_stream<R: Read>(input: &mut Input<R>) -> Result<Libxc, VerifyError> {
    let start = input.offset() - 8;
    let mut report = libxc_headers(input)?;
    let mut receiver = Receiver::new(StreamLimits::default());
    let mut tally = Tally::default();
    loop {
        let start = input.offset();
        let header = RecordHeader::from_bytes(input.array("a libxc record header")?);
        let RecordHeader {
            record_type,
            length,
        } = header;
        let bad = |problem| bad_record("libxc", start, header, problem);
        if is_gpu_type(record_type) {
            receiver.reader().set_offset(input.offset());
            receiver
                .record(input, header, &mut tally)
                .map_err(|error| at(start, error.into()))?;
            continue;
        }
        report.records += 1;
        if length > RECORD_MAX {
            return Err(bad("longer than libxc accepts"));
        }
        if record_type == libxc::CHECKPOINT {
            return Err(bad(
                "a checkpointed (Remus or COLO) stream, which cannot carry GPU state",
            ));
        }
        input.skip(header.padded_length(), "a libxc record")?;
        if record_type == libxc::END {
            break;
        }
    }
    report.bytes = input.offset() - start;
    let sealed = receiver
        .finish()
        .map_err(|error| at(input.offset(), error.into()))?;
    let gpu = sealed.map(|sealed| tally.report(&sealed)).transpose();
    Ok((report, gpu.map_err(|fault| at(input.offset(), fault))?))
}

fn libxc_headers<R: Read>(input: &mut Input<R>) -> Result<LibxcReport, VerifyError> {
    let start = input.offset() - 8;
    let bad = |error: ImageError| at(start, error.into());
    let mut image = [0; IMAGE_HEADER_BYTES];
    image[..8].copy_from_slice(&libxc::MARKER);
    image[8..].copy_from_slice(&input.array::<16>("the libxc image header")?);
    let version = libxc::image_version(&image).map_err(bad)?;
    let domain: [u8; 16] = input.array("the libxc domain header")?;
    let guest = match word(&domain, 0) {
        1 => "x86 PV",
        // PVH guests are of this type, too.
        2 => "x86 HVM",
        other => return Err(bad(ImageError::DomainType(other))),
    };
    let xen = format!("{}.{}", word(&domain, 8), word(&domain, 12));
    Ok(LibxcReport {
        version,
        guest: guest.to_owned(),
        xen,
        records: 0,
        bytes: 0,
    })
}
