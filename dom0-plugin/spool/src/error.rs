//! Why the spool could not keep or give something.

use std::io;
use std::path::PathBuf;

use channel::image::{Digest, ManifestError, SessionKey};
use thiserror::Error;

/// Errors of the spool. Unless it says otherwise, an error changed nothing in the image.
#[derive(Debug, Error)]
pub enum SpoolError {
    #[error("cannot make a spool file in {path}: {error}")]
    Create { path: PathBuf, error: io::Error },
    #[error("cannot make a memfd for the spool: {0}")]
    Memfd(io::Error),
    #[error("no space for {bytes} more bytes of spool in {place}: {error}")]
    NoSpace {
        place: String,
        bytes: u64,
        error: io::Error,
    },
    #[error(
        "the guest's spool quota of {limit} bytes is used up ({used} used, {bytes} more asked for)"
    )]
    Quota { limit: u64, used: u64, bytes: u64 },
    #[error("object {object} has {held} bytes in the image, an extent says {claimed}")]
    SizeChanged {
        object: u64,
        held: u64,
        claimed: u64,
    },
    #[error("object {object} is too large for the spool in {place} ({bytes} bytes)")]
    TooLarge {
        object: u64,
        bytes: u64,
        place: String,
    },
    #[error("{len} bytes were given for an extent of {expected} bytes of object {object}")]
    WrongLength {
        object: u64,
        len: usize,
        expected: u32,
    },
    #[error("the image has {0} objects, the most there may be")]
    TooMany(usize),
    #[error("the image has no object {0}")]
    NoObject(u64),
    #[error("bytes {offset}+{len} are outside object {object} of {size} bytes")]
    OutOfRange {
        object: u64,
        offset: u64,
        len: u64,
        size: u64,
    },
    #[error(
        "{len} bytes for object {object} at {offset} are to be copied from object {from_object} at {from_offset}, \
         which has {size} bytes in the image"
    )]
    NoSource {
        object: u64,
        offset: u64,
        len: u32,
        from_object: u64,
        from_offset: u64,
        /// 0 where there is no such object.
        size: u64,
    },
    #[error(
        "{len} bytes for object {object} at {offset} are to be copied from object {from_object} at {from_offset}, \
         where other bytes stand: digest {found}, meant are {meant}"
    )]
    OtherSource {
        object: u64,
        offset: u64,
        len: u32,
        from_object: u64,
        from_offset: u64,
        meant: Digest,
        found: Digest,
    },
    #[error("spool {place}: writing object {object} failed: {error}; the image is damaged")]
    Write {
        object: u64,
        place: String,
        error: io::Error,
    },
    #[error("spool {place}: reading object {object} at {offset} failed: {error}")]
    Read {
        object: u64,
        offset: u64,
        place: String,
        error: io::Error,
    },
    #[error(
        "spool {place}: object {object} at {offset} reads back with digest {found}, was written with {written}"
    )]
    Corrupt {
        object: u64,
        offset: u64,
        place: String,
        written: Digest,
        found: Digest,
    },
    #[error("the image is damaged by an earlier write error")]
    Damaged,
    #[error("an image cannot be put on record at {path}: {error}")]
    Save { path: PathBuf, error: io::Error },
    #[error("the domain {domid} that an image is of cannot be identified: {error}")]
    Owner { domid: u32, error: io::Error },
    #[error("the record {path} of an earlier image makes no sense: {fault}")]
    Record { path: PathBuf, fault: RecordFault },
    #[error("there is an image {0} already")]
    Exists(SessionKey),
    #[error("there is no image {0}")]
    NoImage(SessionKey),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// What is wrong with an image on record.
#[derive(Debug, Error)]
pub enum RecordFault {
    #[error("version {0}")]
    Version(u32),
    #[error("{path}: {error}")]
    Open { path: PathBuf, error: io::Error },
    #[error("object {object} has no bytes {start}..{end}")]
    NoBytes { object: u64, start: u64, end: u64 },
}
