//! The images this daemon keeps, and what for.
//!
//! They are on record in the spool, so that a daemon that takes over after this one has them.

use crate::spool::{GuestSpool, Image, Room, Spool, SpoolError};
use channel::image::{SessionId, SessionKey};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What an image is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Its session gets it back as soon as it asks.
    Serve,
    /// Its session was detached by hand and gets it back at `attach`.
    Held,
    /// A checkpoint: its session runs on without it.
    Checkpoint,
}

/// What stands beside an image on record.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
struct Label {
    domid: u32,
    /// Tells the domain from a later one with its number.
    identity: Option<String>,
    #[serde(flatten)]
    key: SessionKey,
    purpose: Purpose,
}

/// An image in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Session and generation.
    #[serde(flatten)]
    pub key: SessionKey,
    /// What it is kept for.
    pub purpose: Purpose,
    /// Objects in it, the manifest among them.
    pub objects: u64,
    /// Sum of their sizes, in bytes.
    pub bytes: u64,
    /// Bytes of memory and disk it takes; zeros take none.
    pub stored: u64,
    /// It is being served now.
    pub serving: bool,
}

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
    purpose: Purpose,
    listed: Listed,
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
        let listed = Listed {
            key,
            purpose,
            objects: totals.objects,
            bytes: totals.bytes,
            stored: image.stored_bytes(),
            serving: false,
        };
        self.spool.insert(key, image)?;
        let kept = Kept {
            purpose,
            listed,
            failures: 0,
            retry: Retry::No,
        };
        self.kept.insert(key, kept);
        Ok(())
    }
}

/// What the files of an image are called. By domain too: in a migration to this same host both of its ends have an image
/// of the session.
fn file_name(domid: u32, key: SessionKey) -> String {
    format!("{domid}-{}-{}", key.session, key.generation)
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

    /// Adopts what an earlier daemon kept, of domains that are still the same. `identity` tells a domain from another of
    /// its number; where it fails the files stay for the next daemon.
    pub fn adopt(&self, identity: impl Fn(u32) -> io::Result<Option<String>>) {
        for saved in self.spool.saved() {
            let label: Label = match serde_json::from_value(saved.label().clone()) {
                Ok(label) => label,
                Err(e) => {
                    log::error!("an image on record has no label: {e}");
                    continue;
                }
            };
            let Label { domid, key, .. } = label;
            match identity(domid) {
                Ok(identity) if identity == label.identity => {}
                Ok(_) => {
                    log::info!("domain {domid} is gone: its image {key} is dropped");
                    saved.discard();
                    continue;
                }
                Err(e) => {
                    log::error!(
                        "domain {domid} cannot be identified, start xl-gpud again for its image {key}: {e}"
                    );
                    continue;
                }
            }
            let adopted = self
                .with(domid, |g| g.spool.adopt(saved))
                .and_then(|image| self.insert(domid, key, image, label.purpose));
            match adopted {
                Ok(()) => log::info!("domain {domid}: image {key} is taken over"),
                // A daemon that died while it replaced one: they hold the same.
                Err(SpoolError::Exists(_)) => {
                    log::info!("domain {domid}: image {key} was there twice");
                }
                Err(e) => log::error!("domain {domid}: image {key}: {e}"),
            }
        }
    }

    /// Puts an image on record before its session gives its state up.
    pub fn save(
        &self,
        domid: u32,
        identity: Option<String>,
        key: SessionKey,
        image: &mut Image,
        purpose: Purpose,
    ) -> Result<(), SpoolError> {
        let label = Label {
            domid,
            identity,
            key,
            purpose,
        };
        image.save(&file_name(domid, key), &label)
    }

    /// Puts a complete image, on record, in the place of the one that is kept under `key`: at no time is there none, even if
    /// this daemon is killed. The other one, off the record, is the caller's: freeing it takes time. On an error it
    /// stays where it is.
    pub fn replace(
        &self,
        domid: u32,
        identity: Option<String>,
        key: SessionKey,
        mut image: Image,
        purpose: Purpose,
    ) -> Result<Option<Image>, SpoolError> {
        let label = Label {
            domid,
            identity,
            key,
            purpose,
        };
        let name = file_name(domid, key);
        match image.save(&name, &label) {
            // That is the other one's, which may be here by its second name as well.
            Err(SpoolError::Save { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => {
                image.save(&format!("{name}-2"), &label)?;
            }
            saved => saved?,
        }
        let other = self.with(domid, |g| {
            let other = g.spool.remove(&key);
            g.insert(key, image, purpose).map(|()| other)
        })?;
        Ok(other.map(Image::off_record))
    }

    /// An empty image within the domain's quota.
    pub fn new_image(&self, domid: u32) -> Image {
        self.with(domid, |g| g.spool.new_image())
    }

    /// What images of the domain can still take.
    pub fn room(&self, domid: u32) -> Room {
        let quota = self.with(domid, |g| {
            let quota = g.spool.quota();
            quota.limit().saturating_sub(quota.used())
        });
        self.spool.room(quota)
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

    /// Borrows an image to serve it: it stays listed, and comes back by [`Images::put_back`] or
    /// [`Images::served`]. `None` where there is none, or it is being served already.
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

    /// An image that its session has back: it is of no more use.
    pub fn served(&self, domid: u32, key: SessionKey) {
        self.drop_image(domid, key);
    }

    /// Drops an image; false where there is none.
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
                .filter(|(key, kept)| wanted(key, kept.purpose));
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
        if (kept.purpose != Purpose::Serve && !arriving) || kept.listed.serving {
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
    pub fn list(&self, domid: u32) -> Vec<Listed> {
        self.guests()
            .get(&domid)
            .map_or_else(Vec::new, |g| g.kept.values().map(|k| k.listed).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::SpoolConfig;

    fn key() -> SessionKey {
        SessionKey {
            session: "00112233445566778899aabbccddeeff".parse().unwrap(),
            generation: 1,
        }
    }

    /// An image of one byte.
    fn image_of(images: &Images, byte: u8) -> Image {
        let mut image = images.new_image(7);
        let digest = channel::image::Digest::NONE;
        let extent = channel::image::Extent::data(1, 1, 0, 1, digest);
        image.apply(&extent, &[byte]).unwrap();
        image
    }

    fn byte_of(image: &Image) -> u8 {
        let mut byte = [0];
        image.read(1, 0, &mut byte).unwrap();
        byte[0]
    }

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let name = format!("xl-gpu-images-{name}-{}", std::process::id());
            Folder(std::env::temp_dir().join(name))
        }

        /// What a daemon finds, and would find after it was killed.
        fn images(&self) -> Images {
            let config = SpoolConfig {
                memory_bytes: 1 << 20,
                dir: self.0.join("disk"),
                guest_bytes: 1 << 20,
            };
            Images::new(Spool::lasting(config, self.records()).unwrap())
        }

        fn records(&self) -> std::path::PathBuf {
            self.0.join("memory")
        }

        fn count(&self) -> usize {
            std::fs::read_dir(self.records()).unwrap().count()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// What a daemon after this one takes over.
    fn adopted(folder: &Folder) -> Vec<u8> {
        let next = folder.images();
        next.adopt(|_| Ok(None));
        let kept = next.list(7);
        let taken: Vec<Image> = kept.iter().map(|l| next.take(7, l.key).unwrap()).collect();
        let bytes = taken.iter().map(byte_of).collect();
        // As if it were killed: their files stay.
        taken.into_iter().for_each(std::mem::forget);
        bytes
    }

    #[test]
    fn an_image_is_replaced_without_a_moment_in_which_there_is_none() {
        let folder = Folder::new("replaced");
        let images = folder.images();
        for byte in 1..5 {
            let other = images
                .replace(7, None, key(), image_of(&images, byte), Purpose::Serve)
                .unwrap();
            assert_eq!(other.as_ref().map(byte_of), (byte > 1).then(|| byte - 1));
            drop(other);
            assert_eq!(adopted(&folder), [byte]);
            assert_eq!(folder.count(), 2, "the record and its file");
        }
        drop(images);
        assert_eq!(folder.count(), 0);
    }

    #[test]
    fn an_image_that_cannot_be_put_on_record_replaces_nothing() {
        let folder = Folder::new("kept");
        let images = folder.images();
        let mut image = image_of(&images, 1);
        images
            .save(7, None, key(), &mut image, Purpose::Held)
            .unwrap();
        images.insert(7, key(), image, Purpose::Held).unwrap();
        let in_the_way = folder
            .records()
            .join(format!("{}-2.memory", file_name(7, key())));
        std::fs::write(&in_the_way, "").unwrap();
        let image = image_of(&images, 2);
        images
            .replace(7, None, key(), image, Purpose::Serve)
            .unwrap_err();
        assert_eq!(images.list(7)[0].purpose, Purpose::Held);
        std::fs::remove_file(&in_the_way).unwrap();
        assert_eq!(adopted(&folder), [1]);
    }

    #[test]
    fn an_image_is_served_once_at_a_time_and_again_after_a_failure() {
        let images = Images::new(Spool::new(SpoolConfig {
            memory_bytes: 1 << 20,
            dir: "/nonexistent".into(),
            guest_bytes: 1 << 20,
        }));
        let key = key();
        assert_eq!(images.due(7, &key, false), None);
        let image = images.new_image(7);
        images.insert(7, key, image, Purpose::Serve).unwrap();
        assert_eq!(images.due(7, &key, false), Some(Due::Now));

        let image = images.take(7, key).unwrap();
        assert_eq!(images.due(7, &key, false), Some(Due::NotNow));
        images.put_back(7, key, image, true);
        assert!(matches!(images.due(7, &key, false), Some(Due::In(_))));
        assert_eq!(images.due(7, &key, false), Some(Due::NotNow));
        images.try_again(7, &key);
        assert_eq!(images.due(7, &key, false), Some(Due::Now));
    }
}
