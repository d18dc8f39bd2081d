//! Records come.

use super::error::ReceiveError;
use super::images::{ArrivingImages, Host};
use super::sealed::Sealed;
use crate::images::Images;
use protocol::report::{Report, Role};
use std::io::Read;
use std::time::Instant;
use stream::libxc::END;
use stream::{Receiver, RecordHeader, StreamError, StreamLimits, is_gpu_type};

/// The GPU part of one stream, as far as it has come.
pub struct Receiving<'d> {
    receiver: Receiver,
    arriving: Box<ArrivingImages<'d>>,
    report: Report,
    started: Instant,
}

/// What came of some records.
pub enum Received<'d> {
    /// The seal is still to come.
    Part(Receiving<'d>),
    /// All of it is here.
    All(Sealed),
}

impl<'d> Receiving<'d> {
    /// Nothing has come yet. `host` compares its GPUs with the source's.
    pub fn new(images: &'d Images, domid: u32, max_object_bytes: u64, host: &'d Host<'d>) -> Self {
        Receiving {
            receiver: Receiver::new(StreamLimits { max_object_bytes }),
            arriving: Box::new(ArrivingImages::new(images, domid, host)),
            report: Report::new(Role::Destination, domid),
            started: Instant::now(),
        }
    }

    /// The first record's header, for streams that hold nothing but GPU records.
    pub fn first_header(&mut self, stream: &mut impl Read) -> Result<RecordHeader, StreamError> {
        self.receiver.reader().read_header(stream)
    }

    /// Takes the record with `header`, whose body stands next in the stream, and all GPU records after it; the first
    /// header that is not ours. At libxc's END everything must be sealed.
    pub fn records(
        mut self,
        stream: &mut impl Read,
        header: RecordHeader,
    ) -> Result<(Received<'d>, RecordHeader), ReceiveError> {
        let next = match is_gpu_type(header.record_type) {
            true => self.receiver.records(stream, header, &mut *self.arriving)?,
            false => header,
        };
        if self.receiver.is_sealed() {
            let (images, bytes) = self.arriving.finish();
            self.report.gpu_bytes = bytes;
            let sealed = Sealed {
                images,
                report: self.report,
                started: self.started,
            };
            return Ok((Received::All(sealed), next));
        }
        match next.record_type {
            END => Err(ReceiveError::Unsealed),
            _ => Ok((Received::Part(self), next)),
        }
    }
}
