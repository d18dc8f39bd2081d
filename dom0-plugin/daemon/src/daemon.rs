//! The services that operations on domains use, wired up.

use crate::carrier::{Carrier, Unreadable};
use crate::cost_model::CostModel;
use crate::doctor::patient::{Asked, Patient};
use crate::domain_lock::{Busy, DomainLock, DomainLocks, LockPatience};
use crate::images::Images;
use crate::moving::Moving;
use crate::passthrough::devices::Devices;
use crate::publisher::Publisher;
use crate::reports::Reports;
use crate::serve::image_server::ImageServer;
use crate::serve::server::Server;
use crate::settings::Settings;
use channel::image::{SessionId, SessionKey};
use protocol::report::{Report, Role};
use protocol::status::Purpose;
use spool::{Image, SpoolError};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Bytes per second at which contents that a guest fetches move on, at the least: no disk that holds them is slower.
const ARRIVAL_RATE: u64 = 16 << 20;
/// Times that sessions which are being attached may use up the patience for a standstill.
const STANDSTILLS: u32 = 10;

/// One of each service. A service knows those that it uses itself, and never this.
pub struct Daemon {
    /// Where sessions are met.
    pub carrier: Arc<dyn Carrier>,
    /// Images by domain.
    pub images: Arc<Images>,
    /// Who works on which domain.
    pub locks: Arc<DomainLocks>,
    /// What is told of each domain.
    pub publisher: Arc<Publisher>,
    /// Reports of migrations.
    pub reports: Arc<Reports>,
    /// What blackouts have cost here.
    pub costs: Arc<CostModel>,
    /// Migrations under way.
    pub moving: Arc<Moving>,
    /// Domains' PCI devices.
    pub devices: Arc<Devices>,
    /// Gives images back.
    pub server: Arc<Server>,
    /// Limits and patience.
    pub settings: Arc<Settings>,
}

impl Daemon {
    /// A daemon over `carrier`. Images that an earlier one kept in the spool are taken over.
    pub fn new(
        carrier: Box<dyn Carrier>,
        images: Images,
        reports: Reports,
        settings: Settings,
    ) -> Arc<Self> {
        let carrier: Arc<dyn Carrier> = carrier.into();
        images.adopt(|domid| carrier.identity(domid));
        let by_hand = |domid: &u32| {
            let held = images.keys(*domid, |_, purpose| purpose == Purpose::Held);
            !held.is_empty()
        };
        let detached: Vec<u32> = images.domains().into_iter().filter(by_hand).collect();
        let (look_again, missed) = channel();
        let (images, reports, settings) = (Arc::new(images), Arc::new(reports), Arc::new(settings));
        let locks = Arc::new(DomainLocks::new(look_again));
        let publisher = Arc::new(Publisher::new(carrier.clone(), detached));
        let costs = Arc::new(CostModel::default());
        let devices = Devices::new(carrier.clone(), settings.passthrough.clone());
        let devices = Arc::new(devices);
        let one = ImageServer::new(
            carrier.clone(),
            images.clone(),
            reports.clone(),
            costs.clone(),
            devices.clone(),
            settings.clone(),
        );
        let server = Arc::new(Server::new(one, locks.clone(), publisher.clone()));
        // A thread of its own: who gives a lock back does not look at the domain's sessions on the way.
        let looking: Weak<Server> = Arc::downgrade(&server);
        std::thread::spawn(move || {
            for domid in missed {
                match looking.upgrade() {
                    Some(server) => server.look(domid),
                    None => return,
                }
            }
        });
        // A daemon that died in a migration may have left devices detached.
        match carrier.domains() {
            Ok(all) => all
                .iter()
                .for_each(|d| server.devices_when_resumed(d.domid)),
            Err(e) => log::error!("the list of domains: {e}"),
        }
        Arc::new(Daemon {
            moving: Arc::new(Moving::new(carrier.clone())),
            carrier,
            images,
            locks,
            publisher,
            reports,
            costs,
            devices,
            server,
            settings,
        })
    }

    /// Takes the domain for `what` alone. Sessions that are being attached are waited for, as long as what is left of their
    /// images can take at most.
    pub fn alone(
        &self,
        domid: u32,
        what: &'static str,
        cancelled: &AtomicBool,
    ) -> Result<DomainLock, Busy> {
        let images = self.images.list(domid);
        let stored: u64 = images.iter().map(|image| image.stored).sum();
        let standstill = self.settings.busy_patience;
        let patience = LockPatience {
            standstill,
            in_all: standstill * STANDSTILLS + Duration::from_secs(stored / ARRIVAL_RATE),
        };
        self.locks.alone(domid, what, patience, cancelled)
    }

    /// The domain, or one session of it, as the doctor sees it.
    pub fn patient(
        &self,
        domid: u32,
        only: Option<SessionId>,
        asked: Asked,
    ) -> Result<Patient<'_>, Unreadable> {
        let sessions = self.carrier.sessions_of(domid)?;
        let mut announced = sessions.announced;
        announced.retain(|a| only.is_none_or(|id| id == a.session));
        Ok(Patient {
            domid,
            asked,
            announced,
            nonsense: sessions.nonsense,
            images: self.images.list(domid),
            room: self.images.room(domid),
            busy: self.locks.what(domid),
            devices: &self.devices,
        })
    }

    /// Puts `image` on record and keeps it.
    pub fn keep(
        &self,
        domid: u32,
        key: SessionKey,
        mut image: Image,
        purpose: Purpose,
    ) -> Result<(), SpoolError> {
        let identity = self.identity(domid)?;
        self.images
            .save(domid, identity, key, &mut image, purpose)?;
        self.images.insert(domid, key, image, purpose)
    }

    /// The report of a migration that begins now, with the domain's name and UUID, where they are known.
    pub fn report(&self, role: Role, domid: u32) -> Report {
        let mut report = Report::new(role, domid);
        self.label(&mut report);
        report
    }

    /// Puts the domain's name and UUID into its report. Both are for people: what cannot be read is left out.
    pub fn label(&self, report: &mut Report) {
        let domains = self.carrier.domains().unwrap_or_default();
        let found = domains.into_iter().find(|d| d.domid == report.domid);
        let name = found.map(|d| d.name).unwrap_or_default();
        // What libxl appends to the name while the domain comes.
        report.name = name.strip_suffix("--incoming").unwrap_or(&name).to_owned();
        let identity = self.carrier.identity(report.domid).ok().flatten();
        report.uuid = identity.as_deref().and_then(uuid).map(str::to_owned);
    }

    /// What a domain's images are labelled with.
    pub fn identity(&self, domid: u32) -> Result<Option<String>, SpoolError> {
        let identity = self.carrier.identity(domid);
        identity.map_err(|error| SpoolError::Owner { domid, error })
    }
}

/// The UUID in the path that a domain's node `vm` has: `/vm/UUID`, with a number behind it after a move.
fn uuid(path: &str) -> Option<&str> {
    path.strip_prefix("/vm/")?.get(..36)
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn a_domain_keeps_its_uuid_over_moves() {
        let id = "6f2c7a0e-93a4-4bd2-8e3b-0d8d5b7f5a11";
        assert_eq!(uuid(&format!("/vm/{id}")), Some(id));
        assert_eq!(uuid(&format!("/vm/{id}-1")), Some(id));
        assert_eq!(uuid("/vm/short"), None);
        assert_eq!(uuid("/local/domain/1"), None);
    }
}
