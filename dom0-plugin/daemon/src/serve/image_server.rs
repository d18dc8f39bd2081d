//! One session gets its image back.

use crate::carrier::{ANNOUNCE_PATIENCE, Carrier};
use crate::cost_model::{CostModel, Load, Seen};
use crate::images::Images;
use crate::laps::Laps;
use crate::passthrough::devices::Devices;
use crate::reports::Reports;
use crate::restore::{Serving, restore};
use crate::session::SessionError;
use crate::settings::Settings;
use channel::guest::{Opened, Restored};
use channel::image::{SessionId, SessionKey};
use channel::link::Residence;
use protocol::blackout::Part;
use protocol::report::{Report, Role};
use spool::Image;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long a guest that is suspended may take to come back, where it comes back at all.
pub const UNTIL_RESUMED: Duration = Duration::from_secs(365 * 24 * 3600);

/// A session could not be given its image; it is kept, and tried again.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("session {key}: {error}")]
    Peer { key: SessionKey, error: io::Error },
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Serves images to sessions that can be opened.
pub struct ImageServer {
    pub(super) carrier: Arc<dyn Carrier>,
    pub(super) images: Arc<Images>,
    reports: Arc<Reports>,
    costs: Arc<CostModel>,
    pub(super) devices: Arc<Devices>,
    pub(super) settings: Arc<Settings>,
    /// Detached sessions of which nobody need be told again that their image is not here.
    complaints: Mutex<BTreeSet<(u32, SessionKey)>>,
}

impl ImageServer {
    /// Serves `images` through `carrier`, devices first, and notes in `reports` and `costs` what it took.
    pub fn new(
        carrier: Arc<dyn Carrier>,
        images: Arc<Images>,
        reports: Arc<Reports>,
        costs: Arc<CostModel>,
        devices: Arc<Devices>,
        settings: Arc<Settings>,
    ) -> Self {
        ImageServer {
            carrier,
            images,
            reports,
            costs,
            devices,
            settings,
            complaints: Mutex::default(),
        }
    }

    pub(super) fn complaints(&self) -> MutexGuard<'_, BTreeSet<(u32, SessionKey)>> {
        self.complaints.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Serves an image that was taken until all of it has arrived; `None` where its session has gone with its domain.
    /// `moved_on` is called now and then while contents go to the guest.
    pub fn serve(
        &self,
        domid: u32,
        key: SessionKey,
        image: Image,
        patience: Duration,
        moved_on: &(dyn Fn() + Sync),
    ) -> Result<Option<Restored>, ServeError> {
        let started = Instant::now();
        let gone = || {
            log::info!("domain {domid}: session {key} is no longer there");
            Ok(None)
        };
        let peer = match self.carrier.peer(domid, key.session) {
            Ok(peer) => peer,
            Err(error) => {
                let is_gone = error.kind() == io::ErrorKind::NotFound;
                self.images.put_back(domid, key, image, !is_gone);
                return match is_gone {
                    true => gone(),
                    false => Err(ServeError::Peer { key, error }),
                };
            }
        };
        // One that is suspended may be waited for a long time, and one that arrives has run meanwhile.
        let tells = patience < UNTIL_RESUMED && peer.announcement().state == Residence::Detached;
        let left = peer.announcement().left;
        // The clock of its blackout, if that began within this daemon's sight.
        let mut laps = self.reports.laps(domid);
        if let Some(laps) = laps.as_mut().filter(|_| tells) {
            laps.end(Part::Resume);
        }
        let laps = RefCell::new(laps.unwrap_or_else(Laps::start));
        let lap = |part| laps.borrow_mut().end(part);
        let serving = Serving {
            ready: &mut || {
                lap(if tells { Part::Connect } else { Part::Resume });
                if self.devices.bring_back(domid, Some(key.session))? {
                    lap(Part::Attach);
                }
                Ok(())
            },
            opened: &mut |opened| {
                log::info!(
                    "domain {domid}: session {key} runs again; its calls had waited {:?}",
                    Duration::from_nanos(opened.blackout_ns)
                );
                lap(Part::Reload);
                let report = self.reports.opened(domid, &key, &opened, &laps.borrow());
                if tells {
                    let load = Load { bytes: 0, left };
                    let arrived = (key.session, load);
                    self.learn(arrived, &opened, report.as_ref(), started.elapsed());
                }
            },
            progress: moved_on,
        };
        let limits = self.settings.limits;
        match restore(peer, key, &image, limits, patience, serving) {
            Ok(restored) => {
                let_go(image);
                // Until it says itself that it is attached, it looks as if it waited for an image.
                self.complaints().insert((domid, key));
                self.images.drop_image(domid, key);
                log::info!(
                    "domain {domid}: session {key} is attached: {} bytes in {:?}",
                    restored.bytes,
                    started.elapsed()
                );
                self.reports.arrived(domid, &key, started.elapsed());
                // Whoever comes next goes by what it says.
                let says = self.carrier.await_state(
                    domid,
                    key.session,
                    Residence::Attached,
                    ANNOUNCE_PATIENCE,
                );
                if !says {
                    log::warn!("domain {domid}: session {key} does not say that it is attached");
                }
                Ok(Some(restored))
            }
            Err(e) if e.is_gone() => {
                self.images.put_back(domid, key, image, false);
                gone()
            }
            Err(e) => {
                log::error!("domain {domid}: {e}");
                self.images.put_back(domid, key, image, true);
                self.carrier
                    .tell_session(domid, key.session, &e.to_string());
                Err(e.into())
            }
        }
    }

    /// What the next arrival will cost: what this one did. Where the stop was here, too, the rest of the program's own
    /// figure is what happened since the VCPUs ran again. Elsewhere it is what passed here until the program ran, as far as
    /// its calls waited. `took`: dom0's own measure of that.
    fn learn(
        &self,
        session: (SessionId, Load),
        opened: &Opened,
        report: Option<&Report>,
        took: Duration,
    ) {
        let paused = Duration::from_nanos(opened.downtime_ns);
        let stop = report
            .filter(|report| report.role == Role::Rehearsal)
            .and_then(|report| report.stop_s)
            .and_then(|s| Duration::try_from_secs_f64(s).ok());
        let blackout = Duration::from_nanos(opened.blackout_ns);
        let arrive = match stop {
            Some(stop) => blackout.saturating_sub(stop.saturating_add(paused)),
            None => took.min(blackout.saturating_sub(paused)),
        };
        // A pause within this daemon's sight was no longer than that. One that began elsewhere is the guest's word.
        let paused = match stop {
            Some(stop) => paused.min(stop.saturating_add(took)),
            None => paused,
        };
        let seen = Seen {
            paused: Some(paused),
            arrive: Some(arrive),
            ..Seen::default()
        };
        self.costs.learn([session], seen);
    }
}

/// Frees an image's memory, which takes a second for 10 GB, while the guest goes on. Its share of the spool is free at once.
fn let_go(image: Image) {
    // Where no thread can be had, it is dropped right here.
    let _ = std::thread::Builder::new()
        .name("let-go".into())
        .spawn(move || drop(image));
}
