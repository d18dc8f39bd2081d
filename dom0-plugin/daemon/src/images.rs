//! The images this daemon keeps, and what for.
//!
//! They are on record in the spool, so that a daemon that takes over after this one has them.

mod record;

use channel::image::{SessionId, SessionKey};
use protocol::status::{Purpose, StoredImage};
use spool::{FreeSpace, GuestSpool, Image, Spool, SpoolError};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// When an image is to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Right away.
    Now,
    /// After that time, by [`Images::try_again`]: serving it failed. Only the first who asks is told.
    In(Duration),
    /// It is being served, or will be tried again, or is kept for something else.
    NotNow,
}

/// What comes after a failure.
#[derive(Clone, Copy)]
enum Retry {
    No,
    At(Instant),
    Arranged,
}

/// The longest time between two attempts to serve an image.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

struct Kept {
    listed: StoredImage,
    /// Times that serving it failed.
    failures: u32,
    retry: Retry,
}

struct Guest {
    spool: GuestSpool,
    kept: BTreeMap<SessionKey, Kept>,
}

impl Guest {
    fn insert(
        &mut self,
        key: SessionKey,
        image: Image,
        purpose: Purpose,
    ) -> Result<(), SpoolError> {
        let totals = image.totals();
        let listed = StoredImage {
            key,
            purpose,
            objects: totals.objects,
            bytes: totals.bytes,
            stored: image.stored_bytes(),
            serving: false,
        };
        self.spool.insert(key, image)?;
        let kept = Kept {
            listed,
            failures: 0,
            retry: Retry::No,
        };
        self.kept.insert(key, kept);
        Ok(())
    }
}

/// All images, by domain.
pub struct Images {
    spool: Spool,
    guests: Mutex<BTreeMap<u32, Guest>>,
}

impl Images {
    /// None yet, in `spool`.
    pub fn new(spool: Spool) -> Self {
        Images {
            spool,
            guests: Mutex::default(),
        }
    }

    /// The spool behind it.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    fn guests(&self) -> MutexGuard<'_, BTreeMap<u32, Guest>> {
        self.guests.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn with<T>(&self, domid: u32, f: impl FnOnce(&mut Guest) -> T) -> T {
        f(self.guests().entry(domid).or_insert_with(|| Guest {
            spool: self.spool.guest(),
            kept: BTreeMap::new(),
        }))
    }

    /// An empty image within the domain's quota.
    pub fn new_image(&self, domid: u32) -> Image {
        self.with(domid, |g| g.spool.new_image())
    }

    /// What images of the domain can still take.
    pub fn room(&self, domid: u32) -> FreeSpace {
        let quota = self.with(domid, |g| {
            let quota = g.spool.quota();
            quota.limit().saturating_sub(quota.used())
        });
        self.spool.free_space(quota)
    }

    /// A number for the session's next image that none of its images has.
    pub fn next_generation(&self, domid: u32, session: SessionId, announced: u64) -> u64 {
        self.with(domid, |g| {
            let newest = g
                .kept
                .keys()
                .filter(|k| k.session == session)
                .map(|k| k.generation);
            newest.max().unwrap_or(0).max(announced).saturating_add(1)
        })
    }

    /// Keeps an image that is complete, and on record.
    pub fn insert(
        &self,
        domid: u32,
        key: SessionKey,
        image: Image,
        purpose: Purpose,
    ) -> Result<(), SpoolError> {
        self.with(domid, |g| g.insert(key, image, purpose))
    }

    /// Borrows an image to serve it: it stays listed, and comes back by [`Images::put_back`] or ends by
    /// [`Images::drop_image`]. `None` where there is none, or it is being served already.
    pub fn take(&self, domid: u32, key: SessionKey) -> Option<Image> {
        self.with(domid, |g| {
            let image = g.spool.remove(&key)?;
            if let Some(kept) = g.kept.get_mut(&key) {
                kept.listed.serving = true;
            }
            Some(image)
        })
    }

    /// An image that was not served after all; dropped where the domain has gone meanwhile.
    pub fn put_back(&self, domid: u32, key: SessionKey, image: Image, failed: bool) {
        let mut guests = self.guests();
        let Some(guest) = guests.get_mut(&domid) else {
            return;
        };
        if let Some(kept) = guest.kept.get_mut(&key) {
            kept.listed.serving = false;
            if failed {
                let delay = Duration::from_secs(1 << kept.failures.min(6)).min(LONGEST_RETRY);
                kept.failures = kept.failures.saturating_add(1);
                kept.retry = Retry::At(Instant::now() + delay);
            }
            if let Err(e) = guest.spool.insert(key, image) {
                log::error!("domain {domid}: {e}");
            }
        }
    }

    /// Drops an image, one that its session has back among them; false where there is none.
    pub fn drop_image(&self, domid: u32, key: SessionKey) -> bool {
        self.with(domid, |g| {
            g.spool.remove(&key);
            g.kept.remove(&key).is_some()
        })
    }

    /// Drops everything of a domain.
    pub fn drop_domain(&self, domid: u32) -> usize {
        self.guests().remove(&domid).map_or(0, |g| g.kept.len())
    }

    /// Keys of the domain's images that `wanted` accepts, those being served included.
    pub fn keys(
        &self,
        domid: u32,
        wanted: impl Fn(&SessionKey, Purpose) -> bool,
    ) -> Vec<SessionKey> {
        self.guests().get(&domid).map_or_else(Vec::new, |g| {
            let matching = g
                .kept
                .iter()
                .filter(|(key, kept)| wanted(key, kept.listed.purpose));
            matching.map(|(key, _)| *key).collect()
        })
    }

    /// Whether there is such an image, be it served at the moment or not.
    pub fn has(&self, domid: u32, key: &SessionKey) -> bool {
        let guests = self.guests();
        guests.get(&domid).is_some_and(|g| g.kept.contains_key(key))
    }

    /// When an image is to be served; `None` where there is none. A session that is `arriving` runs already and needs
    /// the rest, whatever the image is kept for.
    pub fn due(&self, domid: u32, key: &SessionKey, arriving: bool) -> Option<Due> {
        let mut guests = self.guests();
        let kept = guests.get_mut(&domid)?.kept.get_mut(key)?;
        if (kept.listed.purpose != Purpose::Serve && !arriving) || kept.listed.serving {
            return Some(Due::NotNow);
        }
        Some(match kept.retry {
            Retry::No => Due::Now,
            Retry::Arranged => Due::NotNow,
            Retry::At(time) => {
                kept.retry = Retry::Arranged;
                Due::In(time.saturating_duration_since(Instant::now()))
            }
        })
    }

    /// The time that [`Due::In`] named is over.
    pub fn try_again(&self, domid: u32, key: &SessionKey) {
        let mut guests = self.guests();
        if let Some(kept) = guests.get_mut(&domid).and_then(|g| g.kept.get_mut(key)) {
            kept.retry = Retry::No;
        }
    }

    /// Domains that have images.
    pub fn domains(&self) -> Vec<u32> {
        let guests = self.guests();
        let holding = guests.iter().filter(|(_, g)| !g.kept.is_empty());
        holding.map(|(domid, _)| *domid).collect()
    }

    /// All images of a domain.
    pub fn list(&self, domid: u32) -> Vec<StoredImage> {
        self.guests()
            .get(&domid)
            .map_or_else(Vec::new, |g| g.kept.values().map(|k| k.listed).collect())
    }
}

#[cfg(test)]
mod tests;
