//! The seal has come, and agrees with what came before it.

use super::error::ReceiveError;
use crate::daemon::Daemon;
use crate::image_source::check_manifest;
use crate::laps::Laps;
use channel::image::SessionKey;
use channel::link::LeftToDriver;
use protocol::report::{Report, SessionReport};
use protocol::status::{PublishedState, Purpose};
use spool::Image;
use std::collections::BTreeMap;
use std::time::Instant;

/// All images of a domain, which nobody can have yet.
pub struct Sealed {
    pub(super) images: BTreeMap<SessionKey, Image>,
    /// What came for them.
    pub(super) report: Report,
    pub(super) started: Instant,
}

impl Sealed {
    /// The images and what was received, if each is what its manifest says.
    pub fn finish(mut self) -> Result<(BTreeMap<SessionKey, Image>, Report), ReceiveError> {
        for (key, image) in &self.images {
            check_manifest(key, image)?;
            let manifest = image.manifest(key.generation).ok();
            self.report.sessions.push(SessionReport {
                key: *key,
                program: manifest
                    .as_ref()
                    .map(|m| protocol::text::clean(&m.program))
                    .unwrap_or_default(),
                pid: manifest.map_or(0, |m| m.pid),
                bytes: image.totals().bytes,
                left_to_driver: LeftToDriver::default(),
            });
        }
        self.report.ok = Some(true);
        self.report.total_s = Some(self.started.elapsed().as_secs_f64());
        Ok((self.images, self.report))
    }

    /// The domain is whole: its images are kept for it, and served from now on.
    pub fn keep(self, daemon: &Daemon) -> Result<(), ReceiveError> {
        let domid = self.report.domid;
        let (images, mut report) = self.finish()?;
        daemon.label(&mut report);
        let keys: Vec<SessionKey> = images.keys().copied().collect();
        for (key, image) in images {
            if let Err(e) = daemon.keep(domid, key, image, Purpose::Serve) {
                keys.iter().for_each(|key| {
                    daemon.images.drop_image(domid, *key);
                });
                return Err(e.into());
            }
        }
        log::info!(
            "domain {domid}: {} images have come, {} bytes before the stop, {} in it",
            keys.len(),
            report.gpu_bytes.precopy.iter().sum::<u64>(),
            report.gpu_bytes.stop
        );
        daemon.reports.put(report, Some(Laps::start()));
        daemon.publisher.tell(domid, PublishedState::Detached);
        Ok(())
    }
}
