//! Images on record: what a daemon that takes over after this one finds.

use super::Images;
use channel::image::SessionKey;
use protocol::status::Purpose;
use serde::{Deserialize, Serialize};
use spool::{Image, SpoolError};
use std::io;

/// What stands beside an image on record.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Label {
    domid: u32,
    /// Tells the domain from a later one with its number.
    identity: Option<String>,
    #[serde(flatten)]
    key: SessionKey,
    purpose: Purpose,
}

/// What the files of an image are called. By domain too: in a migration to this same host both of its ends have an image
/// of the session.
pub(super) fn file_name(domid: u32, key: SessionKey) -> String {
    format!("{domid}-{}-{}", key.session, key.generation)
}

impl Images {
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
}
