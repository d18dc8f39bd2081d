//! What a verification found, for people and as JSON.

use std::fmt;

use channel::image::{Manifest, SessionId};
use serde::Serialize;

use crate::wire::ImageId;

/// A whole saved domain. All sizes are in bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// The outermost layer.
    pub container: Container,
    /// The domain's name, where the file tells it.
    pub domain: Option<String>,
    /// Length of the stream with all its headers.
    pub stream_bytes: u64,
    /// What follows it: xl's handshake in a recorded migration.
    pub trailing_bytes: u64,
    /// libxc's part; `None` in a libxl stream that has none.
    pub libxc: Option<LibxcReport>,
    /// GPU records; `None` for a domain without.
    pub gpu: Option<GpuReport>,
}

/// The outermost layer of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Container {
    /// `xl save`, or a recorded `xl migrate`.
    XlSave,
    /// A libxl stream without xl's header.
    Libxl,
    /// A libxc stream.
    Libxc,
}

/// libxc's stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LibxcReport {
    /// Image version.
    pub version: u32,
    /// Type of guest.
    pub guest: String,
    /// Xen that saved it.
    pub xen: String,
    /// Records that are not GPU records.
    pub records: u64,
    /// Length of the stream, GPU records among it.
    pub bytes: u64,
}

/// The GPU part: checked and sealed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct GpuReport {
    /// Random name of this stream's GPU part.
    pub image_id: ImageId,
    /// DATA records.
    pub data_records: u64,
    /// Their payload.
    pub payload_bytes: u64,
    /// The sessions, in HEAD's order.
    pub sessions: Vec<SessionReport>,
}

/// One session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SessionReport {
    /// The session.
    pub session: SessionId,
    /// Generation of the image.
    pub generation: u64,
    /// Objects, the manifest among them.
    pub objects: u64,
    /// Sum of their sizes.
    pub bytes: u64,
    /// What was sent when.
    pub rounds: Vec<RoundCounts>,
    /// The manifest, where the image has one.
    pub manifest: Option<Manifest>,
}

/// One round of one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct RoundCounts {
    /// Number from 0; `None` for the stop-and-copy.
    pub round: Option<u32>,
    /// Extents.
    pub extents: u64,
    /// Bytes in the stream.
    pub data_bytes: u64,
    /// Bytes named as zero.
    pub zero_bytes: u64,
    /// Bytes named as equal to others of the image.
    pub copy_bytes: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let container = match self.container {
            Container::XlSave => "xl save file",
            Container::Libxl => "libxl stream",
            Container::Libxc => "libxc stream",
        };
        write!(f, "{container}, {} bytes", self.stream_bytes)?;
        if let Some(domain) = &self.domain {
            write!(f, ", domain {domain:?}")?;
        }
        if self.trailing_bytes > 0 {
            write!(f, ", followed by {} other bytes", self.trailing_bytes)?;
        }
        writeln!(f)?;
        if let Some(libxc) = &self.libxc {
            let LibxcReport {
                version,
                guest,
                xen,
                records,
                bytes,
            } = libxc;
            writeln!(
                f,
                "libxc image version {version}, {guest} guest saved by Xen {xen}: {records} records, {bytes} bytes"
            )?;
        }
        let Some(gpu) = &self.gpu else {
            return writeln!(f, "no GPU records");
        };
        let GpuReport {
            image_id,
            data_records,
            payload_bytes,
            sessions,
        } = gpu;
        let count = sessions.len();
        writeln!(
            f,
            "GPU image {image_id}, sealed: {count} sessions, {data_records} DATA records, {payload_bytes} bytes of payload"
        )?;
        sessions
            .iter()
            .try_for_each(|session| write!(f, "{session}"))
    }
}

impl fmt::Display for SessionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  session {}, generation {}",
            self.session, self.generation
        )?;
        match &self.manifest {
            // {:?}: the name is the guest's, and must not control this terminal.
            Some(manifest) => {
                let (program, pid, buffers) =
                    (&manifest.program, manifest.pid, manifest.buffers.len());
                writeln!(f, ": {program:?}, process {pid}, {buffers} buffers")?;
                for device in &manifest.devices {
                    writeln!(
                        f,
                        "    device {:?}, driver {:?}, by {}",
                        device.name, device.driver, device.api
                    )?;
                }
                for (api, (buffers, bytes)) in manifest.by_api() {
                    writeln!(f, "    {api}: {buffers} buffers, {bytes} bytes")?;
                }
            }
            None => writeln!(f, ": no manifest")?,
        }
        writeln!(f, "    {} objects, {} bytes", self.objects, self.bytes)?;
        for RoundCounts {
            round,
            extents,
            data_bytes,
            zero_bytes,
            copy_bytes,
        } in &self.rounds
        {
            match round {
                Some(number) => write!(f, "    round {number}")?,
                None => write!(f, "    stop-and-copy")?,
            }
            writeln!(
                f,
                ": {data_bytes} bytes sent, {zero_bytes} zero, {copy_bytes} by reference, in {extents} extents"
            )?;
        }
        Ok(())
    }
}
