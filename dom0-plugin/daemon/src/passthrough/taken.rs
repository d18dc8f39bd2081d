//! What was taken from a domain for a migration, as it stands in XenStore with the domain (`docs/xenstore.md`, node `pci`).

use super::device::Device;
use serde::{Deserialize, Serialize};

/// How far a device has come with its leaving.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Removal {
    /// It has left, or was not asked to yet: it is to be with the domain.
    #[default]
    Done,
    /// The guest was asked to give it up in vain, and was found to use it meanwhile. It may leave yet: a guest cannot be told to forget a
    /// removal that it has begun.
    Late,
    /// The guest was asked to give it up, and the end of that was not seen. A later version's word is taken for this one.
    #[serde(other)]
    Pending,
}

impl Removal {
    fn is_done(&self) -> bool {
        *self == Removal::Done
    }
}

/// A device on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    #[serde(flatten)]
    pub device: Device,
    #[serde(default, skip_serializing_if = "Removal::is_done")]
    pub removal: Removal,
}

impl Taken {
    /// Whether it may leave although nobody wants it to any more.
    pub fn may_leave(&self) -> bool {
        !self.removal.is_done()
    }
}

impl From<Device> for Taken {
    fn from(device: Device) -> Self {
        Taken {
            device,
            removal: Removal::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_earlier_daemons_are_read() {
        let earlier = r#"{"bdf":"0000:3b:00.0","vslot":5}"#;
        let mut taken: Taken = serde_json::from_str(earlier).unwrap();
        assert!(!taken.may_leave());
        assert_eq!(serde_json::to_string(&taken).unwrap(), earlier);
        taken.removal = Removal::Pending;
        let text = serde_json::to_string(&taken).unwrap();
        assert!(text.ends_with(r#","removal":"pending"}"#), "{text}");
        assert_eq!(serde_json::from_str::<Taken>(&text).unwrap(), taken);
        let later = text.replace("pending", "stuck");
        assert_eq!(serde_json::from_str::<Taken>(&later).unwrap(), taken);
        // And the reverse.
        serde_json::from_str::<Device>(&text).unwrap();
    }
}
