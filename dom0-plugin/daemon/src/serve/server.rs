//! Looks at domains, and has what waits there served.

use super::ended::EndedSessions;
use super::followed::Followed;
use super::image_server::{ImageServer, UNTIL_RESUMED};
use crate::carrier::image_of;
use crate::domain_lock::{DomainLock, DomainLocks};
use crate::images::Due;
use crate::publisher::Publisher;
use channel::image::SessionKey;
use channel::link::{Announcement, Residence};
use protocol::status::{PublishedState, Purpose};
use spool::Image;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often a suspended domain is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// The longest time between two attempts to attach devices.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Serves sessions whenever they ask.
pub struct Server {
    /// Serves one session.
    pub one: ImageServer,
    ended: Arc<EndedSessions>,
    locks: Arc<DomainLocks>,
    publisher: Arc<Publisher>,
    /// Domains with sessions whose devices were looked after.
    greeted: Mutex<BTreeSet<u32>>,
    /// Domains with devices on record.
    followed: Followed,
}

impl Server {
    /// Has `one` serve under `locks`, and `publisher` tell of it.
    pub fn new(one: ImageServer, locks: Arc<DomainLocks>, publisher: Arc<Publisher>) -> Self {
        let ended = EndedSessions::new(one.carrier.clone(), one.images.clone());
        Server {
            one,
            ended: Arc::new(ended),
            locks,
            publisher,
            greeted: Mutex::default(),
            followed: Followed::default(),
        }
    }

    /// Looks at a domain's sessions: those that wait for an image of ours get it. Does nothing while somebody has the domain
    /// alone; whoever had calls it again.
    pub fn look(self: &Arc<Self>, domid: u32) {
        let Some(_lock) = self.locks.serving(domid) else {
            return;
        };
        let sessions = match self.one.carrier.sessions(domid) {
            Ok(sessions) => sessions,
            Err(e) => return log::warn!("domain {domid}: its sessions cannot be read: {e}"),
        };
        let is_quiet = |a: &Announcement| a.state == Residence::Attached;
        if !sessions.announced.is_empty() && sessions.announced.iter().all(is_quiet) {
            self.greet(domid);
        }
        self.one.complaints().retain(|(of, key)| {
            let still =
                |a: &Announcement| a.session == key.session && a.state != Residence::Attached;
            *of != domid || sessions.announced.iter().any(still)
        });
        let known =
            |id| sessions.announced.iter().any(|a| a.session == id) || sessions.ended.contains(&id);
        let orphans = self.one.images.keys(domid, |key, purpose| {
            purpose == Purpose::Checkpoint && !known(key.session)
        });
        for key in orphans {
            log::info!("domain {domid}: session {key} has ended; its checkpoint is dropped");
            self.one.images.drop_image(domid, key);
        }
        self.ended.remove_later(domid, &sessions.ended);
        for a in sessions.announced {
            let key = image_of(&a);
            match a.state {
                Residence::Attached => self.forget_unneeded(domid, key),
                waits => match self
                    .one
                    .images
                    .due(domid, &key, waits == Residence::PostCopy)
                {
                    Some(Due::Now) => {
                        if let Some(lock) = self.locks.serving(domid)
                            && let Some(image) = self.one.images.take(domid, key)
                        {
                            let patience = self.one.settings.open_patience;
                            self.in_background(domid, key, image, patience, lock);
                        }
                    }
                    Some(Due::In(delay)) => self.again_after(domid, key, delay),
                    Some(Due::NotNow) => {}
                    None => self.complain(domid, key),
                },
            }
        }
    }

    /// Once for each domain, in the background: its sessions are asked. Those that are about to be served see to it themselves.
    fn greet(self: &Arc<Self>, domid: u32) {
        let mut greeted = self.greeted.lock().unwrap_or_else(PoisonError::into_inner);
        if greeted.contains(&domid) {
            return;
        }
        let Some(lock) = self.locks.serving(domid) else {
            return;
        };
        let server = self.clone();
        let greeting = move || {
            server.one.devices.greet(domid);
            drop(lock);
            // What it has lost is on record now.
            server.devices_when_resumed(domid);
        };
        match std::thread::Builder::new().spawn(greeting) {
            Ok(_) => drop(greeted.insert(domid)),
            // At the next look, then.
            Err(e) => {
                log::warn!("domain {domid}: its devices are not looked after: no thread: {e}")
            }
        }
    }

    /// Says once that a session waits for nothing: what is written there comes back as an event.
    fn complain(&self, domid: u32, key: SessionKey) {
        if !self.one.complaints().insert((domid, key)) {
            return;
        }
        let reason = format!(
            "no image {key} is kept here; was the domain restored or migrated without xl-gpud?"
        );
        log::error!("domain {domid}: session {}: {reason}", key.session);
        self.one.carrier.tell_session(domid, key.session, &reason);
    }

    /// Has an image that could not be served tried again.
    fn again_after(self: &Arc<Self>, domid: u32, key: SessionKey, delay: Duration) {
        let server = self.clone();
        std::thread::spawn(move || {
            std::thread::sleep(delay);
            server.one.images.try_again(domid, &key);
            server.look(domid);
        });
    }

    /// A session that runs with image `key` behind it, or a later one, has no use for it any more.
    fn forget_unneeded(&self, domid: u32, running: SessionKey) {
        let stale = self.one.images.keys(domid, |key, purpose| {
            key.session == running.session
                && key.generation <= running.generation
                && purpose != Purpose::Checkpoint
        });
        for key in stale {
            // One that is being served is on its way out anyway.
            if let Some(image) = self.one.images.take(domid, key) {
                drop(image);
                self.one.images.drop_image(domid, key);
                log::info!("domain {domid}: session {key} runs; its image is dropped");
            }
        }
    }

    /// Serves `keys` in the background as soon as their sessions can be opened, and brings devices back as soon as the domain
    /// runs, however long that takes: the guest may be suspended. The lock becomes a shared one.
    pub fn when_resumed(self: &Arc<Self>, domid: u32, keys: &[SessionKey], lock: &DomainLock) {
        for (key, image) in self.take_and_share(domid, keys, lock) {
            match (self.locks.serving(domid), image) {
                (Some(lock), Some(image)) => {
                    self.in_background(domid, key, image, UNTIL_RESUMED, lock);
                }
                (None, Some(image)) => self.one.images.put_back(domid, key, image, false),
                (_, None) => {}
            }
        }
        self.devices_when_resumed(domid);
    }

    /// Takes the images of `keys`, then shares the domain. In the other order a look could take one in between: its caller
    /// would believe it served, or missing.
    pub fn take_and_share(
        &self,
        domid: u32,
        keys: &[SessionKey],
        lock: &DomainLock,
    ) -> Vec<(SessionKey, Option<Image>)> {
        let take = |key: &SessionKey| (*key, self.one.images.take(domid, *key));
        let taken = keys.iter().map(take).collect();
        lock.share();
        taken
    }

    fn in_background(
        self: &Arc<Self>,
        domid: u32,
        key: SessionKey,
        image: Image,
        patience: Duration,
        lock: DomainLock,
    ) {
        let server = self.clone();
        // Where no thread can be had, the image must not go with what it was to do.
        let image = Arc::new(Mutex::new(Some(image)));
        let kept = image.clone();
        let take = |image: &Mutex<Option<Image>>| {
            let mut image = image.lock().unwrap_or_else(PoisonError::into_inner);
            image.take().expect("taken once")
        };
        let started = std::thread::Builder::new().spawn(move || {
            let image = take(&image);
            let served = server
                .one
                .serve(domid, key, image, patience, &|| lock.moved_on());
            drop(lock);
            match served {
                Ok(Some(_)) => server.publisher.tell(domid, PublishedState::Attached),
                // The session has gone: looking again would find the same.
                Ok(None) => return,
                Err(e) => server.publisher.failed(domid, &e),
            }
            server.look(domid);
        });
        if let Err(e) = started {
            log::error!("domain {domid}: session {key} has to wait, no thread can be had: {e}");
            self.one.images.put_back(domid, key, take(&kept), true);
        }
    }

    /// Brings devices back in the background as soon as the domain runs, if it ever does again; nothing to do where none were
    /// taken. Sessions that are served bring them back sooner.
    pub fn devices_when_resumed(self: &Arc<Self>, domid: u32) {
        match self.one.carrier.toolstack().map(|t| t.record(domid)) {
            None => return,
            Some(Ok(record)) if record.is_empty() => return,
            Some(Ok(_)) => {}
            Some(Err(e)) => log::error!("domain {domid}: {e}"),
        }
        if !self.followed.begin(domid) {
            return;
        }
        let server = self.clone();
        let started = std::thread::Builder::new().spawn(move || server.follow_devices(domid));
        if let Err(e) = started {
            log::error!("domain {domid}: its devices stay away, no thread can be had: {e}");
            self.followed.abandon(domid);
        }
    }

    /// Until nothing of the domain's is on record, or there is no such domain.
    fn follow_devices(self: &Arc<Self>, domid: u32) {
        let Some(toolstack) = self.one.carrier.toolstack() else {
            return;
        };
        let mut pause = LOOK;
        loop {
            if self.followed.pause(domid, pause) {
                pause = LOOK;
            }
            // The next migration may have begun, and detached them for itself: then it brings them back.
            let Some(_lock) = self.locks.serving(domid) else {
                continue;
            };
            let nothing = match toolstack.record(domid) {
                Ok(record) => record.is_empty(),
                Err(e) => {
                    log::warn!("domain {domid}: {e}");
                    false
                }
            };
            let running = match nothing {
                true => Ok(false),
                false => toolstack.is_running(domid),
            };
            match running {
                Ok(true) => {}
                Ok(false) if self.followed.end_if(domid, nothing) => return,
                Ok(false) => continue,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return self.followed.abandon(domid);
                }
                Err(e) => {
                    log::warn!("domain {domid}: {e}");
                    pause = (pause * 2).min(LONGEST_RETRY);
                    continue;
                }
            }
            pause = match self.one.devices.bring_back(domid, None) {
                Ok(_) => {
                    self.look(domid);
                    match self.one.devices.is_leaving(domid) {
                        true => LONGEST_RETRY,
                        false => LOOK,
                    }
                }
                Err(e) => {
                    log::error!("{e}");
                    self.publisher.failed(domid, &e);
                    (pause * 2).min(LONGEST_RETRY)
                }
            };
        }
    }

    /// The domain is no more.
    pub fn forget(&self, domid: u32) {
        self.one.complaints().retain(|(of, _)| *of != domid);
        let mut greeted = self.greeted.lock().unwrap_or_else(PoisonError::into_inner);
        greeted.remove(&domid);
        self.one.devices.forget(domid);
    }
}
