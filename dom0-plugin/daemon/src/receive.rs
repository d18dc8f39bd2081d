//! The restoring side's conversation with the plugin.
//!
//! The daemon reads the records from the stream itself, never past the first header that is not ours. Images are
//! kept apart until the toolstack says that the domain is whole.

use super::Daemon;
use super::images::Images;
use super::serve;
use super::socket::Conversation;
use channel::image::{Extent, ExtentKind, SessionKey};
use protocol::helper::Request;
use protocol::report::{Report, Role, SessionReport};
use protocol::status::Purpose;
use serde_json::json;
use spool::{Image, SpoolError};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use stream::libxc::END;
use stream::{
    ImageSink, Receiver, RecordHeader, STOP_ROUND, StreamEnd, StreamLimits, Totals, is_gpu_type,
};

/// Speaks with the plugin until the restore is over.
pub fn converse(daemon: &Arc<Daemon>, talk: &mut Conversation, domid: u32, fd: Option<OwnedFd>) {
    let Some(fd) = fd else {
        return talk.refuse("`restore` came without the stream's descriptor");
    };
    let cancelled = Arc::new(AtomicBool::new(false));
    let claimed = talk.work(&cancelled, || daemon.alone(domid, "a restore", &cancelled));
    let claim = match claimed {
        Ok(claim) => claim,
        Err(busy) => return talk.refuse(&busy.to_string()),
    };
    let mut stream = match StreamEnd::new(fd, cancelled.clone()) {
        Ok(stream) => stream,
        Err(e) => return talk.refuse(&format!("the stream: {e}")),
    };
    let mut receiving = Receiving::new(
        &daemon.images,
        domid,
        daemon.settings.limits.batch.max_object_bytes,
    );
    talk.answer(json!({}));
    let accepted = loop {
        match talk.request::<Request>() {
            Ok(Some(Request::Records(header))) => {
                let next = talk.work(&cancelled, || receiving.records(&mut stream, header));
                match next {
                    Ok(next) => talk.answer(json!(next)),
                    Err(reason) => {
                        log::error!("domain {domid}: {reason}");
                        talk.refuse(&reason);
                    }
                }
            }
            Ok(Some(Request::Done { rc: 0, .. })) => match receiving.accept(daemon) {
                Ok(()) => {
                    talk.answer(json!({}));
                    break true;
                }
                Err(reason) => {
                    log::error!("domain {domid}: {reason}");
                    talk.refuse(&reason);
                    break false;
                }
            },
            Ok(Some(Request::Done { rc, .. })) => {
                log::warn!("domain {domid}: the restore failed ({rc}); its images are dropped");
                talk.answer(json!({}));
                break false;
            }
            Ok(Some(other)) => talk.refuse(&format!("{other:?} does not belong here")),
            Ok(None) => {
                log::warn!("domain {domid}: the restore was aborted; its images are dropped");
                break false;
            }
            Err(e) => {
                talk.refuse(&e.to_string());
                break false;
            }
        }
    };
    drop(claim);
    if accepted {
        serve::look(daemon, domid);
    }
}

/// The GPU part of one stream, as far as it has come.
pub struct Receiving<'d> {
    domid: u32,
    receiver: Receiver,
    arriving: Arriving<'d>,
    failed: bool,
    report: Report,
    started: Instant,
}

/// Images that are not complete yet.
struct Arriving<'d> {
    images: &'d Images,
    domid: u32,
    by_key: BTreeMap<SessionKey, Image>,
    precopy: BTreeMap<u32, u64>,
    stop: u64,
    copies: u64,
    zero: u64,
}

impl ImageSink for Arriving<'_> {
    type Error = SpoolError;

    fn begin(&mut self, sessions: &[SessionKey]) -> Result<(), SpoolError> {
        for key in sessions {
            if self.images.has(self.domid, key) {
                return Err(SpoolError::Exists(*key));
            }
            self.by_key.insert(*key, self.images.new_image(self.domid));
        }
        Ok(())
    }

    fn apply(
        &mut self,
        key: &SessionKey,
        round: u32,
        extent: &Extent,
        bytes: &[u8],
    ) -> Result<(), SpoolError> {
        let image = self.by_key.get_mut(key).ok_or(SpoolError::NoImage(*key))?;
        image.apply(extent, bytes)?;
        let len = u64::from(extent.len);
        match extent.kind {
            ExtentKind::Data => {}
            ExtentKind::Copy => self.copies += len,
            ExtentKind::Zero => {
                self.zero += len;
                return Ok(());
            }
            ExtentKind::Drop => return Ok(()),
        }
        let count = match round {
            STOP_ROUND => &mut self.stop,
            // A sender that counts rounds without end is listed up to here.
            n => self.precopy.entry(n.min(999)).or_default(),
        };
        *count += len;
        Ok(())
    }

    fn totals(&self, key: &SessionKey) -> Totals {
        self.by_key.get(key).map(Image::totals).unwrap_or_default()
    }
}

impl<'d> Receiving<'d> {
    /// Nothing has come.
    pub fn new(images: &'d Images, domid: u32, max_object_bytes: u64) -> Self {
        Receiving {
            domid,
            receiver: Receiver::new(StreamLimits { max_object_bytes }),
            arriving: Arriving {
                images,
                domid,
                by_key: BTreeMap::new(),
                precopy: BTreeMap::new(),
                stop: 0,
                copies: 0,
                zero: 0,
            },
            failed: false,
            report: Report::new(Role::Destination, domid),
            started: Instant::now(),
        }
    }

    /// Takes the record with `header`, whose body stands next in the stream, and all GPU records after it; the first
    /// header that is not ours. At libxc's END everything must be sealed.
    pub fn records(
        &mut self,
        stream: &mut StreamEnd,
        header: RecordHeader,
    ) -> Result<RecordHeader, String> {
        let next = match is_gpu_type(header.record_type) {
            true => self
                .receiver
                .records(stream, header, &mut self.arriving)
                .map_err(|e| {
                    self.failed = true;
                    e.to_string()
                })?,
            false => header,
        };
        if next.record_type == END && !self.is_complete() {
            self.failed = true;
            return Err("the stream ends without a seal: its GPU state is incomplete".into());
        }
        Ok(next)
    }

    /// The first record's header, for streams that hold nothing but GPU records.
    pub fn first_header(&mut self, stream: &mut StreamEnd) -> Result<RecordHeader, String> {
        self.receiver
            .reader()
            .read_header(stream)
            .map_err(|e| e.to_string())
    }

    fn is_complete(&self) -> bool {
        self.receiver.is_sealed() && !self.failed
    }

    /// The images and what was received, if all of it came.
    pub fn finish(mut self) -> Result<(BTreeMap<SessionKey, Image>, Report), String> {
        if !self.is_complete() {
            return Err("the GPU part of the stream is not complete".into());
        }
        for (key, image) in &self.arriving.by_key {
            super::capture::check_manifest(key, image).map_err(|e| e.to_string())?;
            let manifest = image.manifest(key.generation).ok();
            self.report.sessions.push(SessionReport {
                key: *key,
                program: manifest
                    .as_ref()
                    .map(|m| protocol::text::clean(&m.program))
                    .unwrap_or_default(),
                pid: manifest.map_or(0, |m| m.pid),
                bytes: image.totals().bytes,
            });
        }
        self.report.gpu_bytes.precopy = self.arriving.precopy.into_values().collect();
        self.report.gpu_bytes.stop = self.arriving.stop;
        self.report.gpu_bytes.copies = self.arriving.copies;
        self.report.gpu_bytes.zero = self.arriving.zero;
        self.report.total_s = Some(self.started.elapsed().as_secs_f64());
        self.report.ok = Some(true);
        Ok((self.arriving.by_key, self.report))
    }

    /// The domain is whole: its images are kept for it.
    fn accept(self, daemon: &Daemon) -> Result<(), String> {
        let domid = self.domid;
        let (images, mut report) = self.finish()?;
        let keys: Vec<SessionKey> = images.keys().copied().collect();
        for (key, image) in images {
            let kept = daemon.keep(domid, key, image, Purpose::Serve);
            if let Err(e) = kept {
                keys.iter().for_each(|key| {
                    daemon.images.drop_image(domid, *key);
                });
                return Err(e.to_string());
            }
        }
        log::info!(
            "domain {domid}: {} images have come, {} bytes before the stop, {} in it",
            keys.len(),
            report.gpu_bytes.precopy.iter().sum::<u64>(),
            report.gpu_bytes.stop
        );
        report.handover.arrived();
        daemon.reports.put(report);
        daemon.tell(domid, "detached", None);
        Ok(())
    }
}
