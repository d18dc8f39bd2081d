//! The manifest: what the buffers in an image belong to, for listing and for checking an image whole.
//!
//! It is object 0 of every image, JSON, written last. The running program does not need it (its shadow
//! objects travel in the guest's RAM); an administrator and `xl-gpu stream verify` do.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::object::{Api, ObjectId};

/// The object that holds the manifest.
pub const MANIFEST_OBJECT: u64 = 0;

/// The version this code writes and the newest it reads.
pub const MANIFEST_VERSION: u32 = 1;

/// The minor version this code writes: 1 added the APIs of objects and devices. A reader takes any.
pub const MANIFEST_MINOR: u32 = 1;

/// Largest manifest accepted, in bytes; 100,000 buffers take a tenth of it.
pub const MAX_MANIFEST_BYTES: u64 = 32 << 20;

/// What an image holds. Fields unknown to a reader are ignored; a new meaning needs a new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    /// [`MANIFEST_MINOR`]; 0 where it is absent.
    #[serde(default)]
    pub minor: u32,
    /// File name of the program, as the guest gives it: untrusted text, for people.
    pub program: String,
    /// Process id in the guest.
    pub pid: u32,
    /// Generation of the image.
    pub generation: u64,
    /// Devices the session's contexts use; one that two APIs use stands here twice.
    #[serde(default)]
    pub devices: Vec<DeviceEntry>,
    /// Every buffer of the session, with or without contents in the image.
    #[serde(default)]
    pub buffers: Vec<BufferEntry>,
}

/// A device the session used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceEntry {
    /// The API by which it was used; OpenCL where it is absent.
    #[serde(default)]
    pub api: Api,
    /// `CL_DEVICE_NAME`, or the API's counterpart; likewise below.
    pub name: String,
    /// `CL_DEVICE_VENDOR`.
    #[serde(default)]
    pub vendor: String,
    /// `CL_DRIVER_VERSION`.
    #[serde(default)]
    pub driver: String,
}

/// A buffer of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BufferEntry {
    /// Object number, not 0; it tells the API.
    pub id: ObjectId,
    /// Size in bytes.
    pub bytes: u64,
}

/// Why a manifest was refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    #[error("manifest of {0} bytes, at most {MAX_MANIFEST_BYTES} allowed")]
    TooLarge(u64),
    #[error("manifest is not the JSON expected: {0}")]
    Json(#[from] serde_json::Error),
    #[error("manifest has version {0}, this program knows up to {MANIFEST_VERSION}")]
    Version(u32),
    #[error("manifest lists buffer {} twice or with the number of the manifest itself", ObjectId::from(*.0))]
    BadBuffer(u64),
    #[error("manifest is of generation {manifest}, its image of {image}")]
    Generation { manifest: u64, image: u64 },
    #[error("object {} is in the image, not in its manifest", ObjectId::from(*.0))]
    Unlisted(u64),
    #[error("object {} has {image} bytes in the image, {manifest} in its manifest", ObjectId::from(*.object))]
    Size {
        object: u64,
        image: u64,
        manifest: u64,
    },
}

impl Manifest {
    /// The octets of object 0.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        let bytes = serde_json::to_vec(self)?;
        match bytes.len() as u64 {
            len if len > MAX_MANIFEST_BYTES => Err(ManifestError::TooLarge(len)),
            _ => Ok(bytes),
        }
    }

    /// Reads and checks the octets of object 0.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(bytes.len() as u64));
        }
        // First the version alone: a later one may have changed everything else.
        let Version { version } = serde_json::from_slice(bytes)?;
        if version == 0 || version > MANIFEST_VERSION {
            return Err(ManifestError::Version(version));
        }
        let manifest: Manifest = serde_json::from_slice(bytes)?;
        manifest.sizes()?;
        Ok(manifest)
    }

    /// Checks the manifest against the objects `(number, bytes)` that an image of `generation` holds.
    ///
    /// Every object has to be listed with its size. A listed buffer need not be there: one that the
    /// program never wrote has no contents to carry.
    pub fn check(
        &self,
        generation: u64,
        objects: impl IntoIterator<Item = (u64, u64)>,
    ) -> Result<(), ManifestError> {
        if self.generation != generation {
            return Err(ManifestError::Generation {
                manifest: self.generation,
                image: generation,
            });
        }
        let sizes = self.sizes()?;
        for (object, image) in objects {
            match sizes.get(&object) {
                _ if object == MANIFEST_OBJECT => {}
                None => return Err(ManifestError::Unlisted(object)),
                Some(&manifest) if manifest != image => {
                    return Err(ManifestError::Size {
                        object,
                        image,
                        manifest,
                    });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// How many buffers each API has, and their bytes.
    pub fn by_api(&self) -> BTreeMap<Api, (u64, u64)> {
        let mut apis = BTreeMap::new();
        for buffer in &self.buffers {
            let (count, bytes) = apis.entry(buffer.id.api()).or_insert((0, 0u64));
            *count += 1;
            // Sizes are the guest's claims.
            *bytes = bytes.saturating_add(buffer.bytes);
        }
        apis
    }

    fn sizes(&self) -> Result<HashMap<u64, u64>, ManifestError> {
        let mut sizes = HashMap::with_capacity(self.buffers.len());
        for buffer in &self.buffers {
            let id = buffer.id.into();
            if id == MANIFEST_OBJECT || sizes.insert(id, buffer.bytes).is_some() {
                return Err(ManifestError::BadBuffer(id));
            }
        }
        Ok(sizes)
    }
}
