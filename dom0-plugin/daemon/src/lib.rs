//! `xl-gpud`: finds the GPU sessions of guests, captures them, keeps their images, serves them.
//!
//! ```text
//!   plugin, CLI                     Daemon                              guests
//!  ─────────────   ┌──────────────────────────────────────┐   ────────────────────────
//!   socket.rs ───> │ migrate/    receive.rs  manual.rs    │
//!   one thread     │      │           │         │         │    carrier.rs: XenStore and
//!   each           │      └─ capture.rs ─ session.rs ─────┼──> grants (xen/), or memfds
//!                  │              │ tee.rs                │    (loopback.rs)
//!                  │              v                       │
//!                  │          images.rs (spool)           │
//!                  │              │                       │
//!   events ──────> │          serve.rs ───────────────────┼──> detached sessions
//!                  └──────────────────────────────────────┘
//! ```
//!
//! Threads, no async: one for events, one for each connection, one for each session while it is worked on.
//! [`claim`] keeps them from meeting in one domain.

pub mod capture;
pub mod carrier;
pub mod claim;
pub mod config;
pub mod costs;
pub mod doctor;
pub mod images;
pub mod loopback;
pub mod manual;
pub mod migrate;
pub mod passthrough;
pub mod ram_report;
pub mod receive;
pub mod rehearse;
pub mod report;
pub mod rounds;
pub mod serve;
pub mod session;
pub mod settings;
pub mod socket;
pub mod status;
pub mod steering;
pub mod tee;
pub mod xen;

use carrier::{Carrier, Event};
use channel::image::{SessionId, SessionKey};
use claim::{Busy, Claim, Claims};
use costs::Experience;
use images::Images;
use protocol::status::{PublishedState, Purpose};
use report::Reports;
use settings::Settings;
use spool::{Image, SpoolError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;
use steering::Moving;

/// Bytes per second at which contents that a guest fetches move on, at the least: no disk that holds them is slower.
const ARRIVAL_RATE: u64 = 16 << 20;
/// Times that sessions which are being attached may use up the patience for a standstill.
const STANDSTILLS: u32 = 10;

/// What all threads share.
pub struct Daemon {
    /// Where sessions are met.
    pub carrier: Box<dyn Carrier>,
    /// Images by domain.
    pub images: Images,
    /// Who works on which domain.
    pub claims: Arc<Claims>,
    /// Reports of migrations.
    pub reports: Reports,
    /// What blackouts have cost here.
    pub experience: Experience,
    /// Migrations under way.
    pub moving: Moving,
    /// Limits and patience.
    pub settings: Settings,
    /// Who attaches or detaches which domain's PCI devices.
    pub device_locks: passthrough::Locks,
    told: Mutex<BTreeMap<u32, PublishedState>>,
    complaints: Mutex<BTreeSet<(u32, SessionKey)>>,
    /// Sessions whose process was killed, until what they left is removed.
    ended: Mutex<BTreeSet<(u32, SessionId)>>,
}

impl Daemon {
    /// A daemon over `carrier`. Images that an earlier one kept in the spool are taken over.
    pub fn new(
        carrier: Box<dyn Carrier>,
        images: Images,
        reports: Reports,
        settings: Settings,
    ) -> Arc<Self> {
        images.adopt(|domid| carrier.identity(domid));
        let by_hand = |domid: &u32| {
            !images
                .keys(*domid, |_, purpose| purpose == Purpose::Held)
                .is_empty()
        };
        let detached = PublishedState {
            state: "detached".into(),
            error: String::new(),
        };
        let adopted = images.domains().into_iter().filter(by_hand);
        let told = adopted.map(|domid| (domid, detached.clone())).collect();
        let (look_again, missed) = channel();
        let daemon = Arc::new(Daemon {
            carrier,
            images,
            claims: Arc::new(Claims::new(look_again)),
            reports,
            experience: Experience::default(),
            moving: Moving::default(),
            settings,
            device_locks: passthrough::Locks::default(),
            told: Mutex::new(told),
            complaints: Mutex::default(),
            ended: Mutex::default(),
        });
        // A thread of its own: who gives a claim back does not look at the domain's sessions on the way.
        let looking: Weak<Daemon> = Arc::downgrade(&daemon);
        std::thread::spawn(move || {
            for domid in missed {
                match looking.upgrade() {
                    Some(daemon) => serve::look(&daemon, domid),
                    None => return,
                }
            }
        });
        // A daemon that died in a migration may have left devices detached.
        match daemon.carrier.domains() {
            Ok(all) => all
                .iter()
                .for_each(|d| passthrough::when_resumed(&daemon, d.domid)),
            Err(e) => log::error!("the list of domains: {e}"),
        }
        daemon
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

    /// Takes the domain for `what` alone. Sessions that are being attached are waited for, as long as what is left of their
    /// images can take at most.
    pub fn alone(
        &self,
        domid: u32,
        what: &'static str,
        cancelled: &AtomicBool,
    ) -> Result<Claim, Busy> {
        let images = self.images.list(domid);
        let stored: u64 = images.iter().map(|image| image.stored).sum();
        let standstill = self.settings.busy_patience;
        let patience = claim::Patience {
            standstill,
            in_all: standstill * STANDSTILLS + Duration::from_secs(stored / ARRIVAL_RATE),
        };
        self.claims.alone(domid, what, patience, cancelled)
    }

    /// What a domain's images are labelled with.
    fn identity(&self, domid: u32) -> Result<Option<String>, SpoolError> {
        let identity = self.carrier.identity(domid);
        identity.map_err(|error| SpoolError::Owner { domid, error })
    }

    fn told_map(&self) -> MutexGuard<'_, BTreeMap<u32, PublishedState>> {
        self.told.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Sessions whose process was killed, until what they left is removed.
    fn ended(&self) -> MutexGuard<'_, BTreeSet<(u32, SessionId)>> {
        self.ended.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Detached sessions of which nobody need be told again that their image is not here.
    fn complaints(&self) -> MutexGuard<'_, BTreeSet<(u32, SessionKey)>> {
        self.complaints.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Publishes what is going on with a domain. `error` replaces the last one.
    pub fn tell(&self, domid: u32, state: &str, error: Option<&str>) {
        let told = PublishedState {
            state: state.to_owned(),
            error: error.unwrap_or_default().to_owned(),
        };
        self.told_map().insert(domid, told);
        self.carrier.tell(domid, state, error);
    }

    /// What was last published.
    pub fn told(&self, domid: u32) -> PublishedState {
        let told = self.told_map().get(&domid).cloned();
        told.unwrap_or_else(|| PublishedState {
            state: "idle".into(),
            error: String::new(),
        })
    }

    /// Handles events until there are no more.
    pub fn run(self: &Arc<Self>, events: &Receiver<Event>) {
        for event in events {
            match event {
                Event::Sessions(domid) => serve::look(self, domid),
                Event::Request(domid, request) => {
                    let daemon = self.clone();
                    // Its own thread: a request lasts as long as the guest lets it.
                    std::thread::spawn(move || manual::from_store(&daemon, domid, &request));
                }
                Event::Gone(domid) => {
                    self.told_map().remove(&domid);
                    self.complaints().retain(|(of, _)| *of != domid);
                    let dropped = self.images.drop_domain(domid);
                    if dropped > 0 {
                        log::info!("domain {domid} is gone: {dropped} images dropped");
                    }
                }
                Event::Lost => return,
            }
        }
    }
}
