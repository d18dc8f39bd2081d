//! What the source says of its GPUs, at the head of the stream, so that a host with other ones refuses while the domain still runs.
//!
//! `xl migrate` has no way back but its end: a receiver that refuses ends, the source's next write fails, and the programs go on there.
//! The notice is an object of the first session that exists for two records: a receiver that does not know it takes it and drops it
//! (`docs/stream-format.md`, *Notice*).

use crate::capture_sink::Records;
use crate::passthrough::chip::{Chip, Gpu};
use channel::image::{Batch, BatchBuilder, BatchError, SessionKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use stream::{MAX_PAYLOAD, NOTICE_OBJECT, SendError};

/// Longest notice that is read, in bytes.
const LONGEST: u64 = 64 << 10;

/// The GPUs that the domain's programs were on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Those that programs cannot do without: a driver's checkpoint goes on on the same chip only.
    #[serde(default)]
    pub chips: Vec<Chip>,
    /// All that are assigned to the domain. OpenCL programs can go on on others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<Chip>,
}

/// This host has GPUs, and none of a kind that programs were on. They may go on all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherModel {
    wanted: Chip,
    here: String,
}

impl fmt::Display for OtherModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OtherModel { wanted, here } = self;
        write!(
            f,
            "its programs were on {wanted}, and this host has {here}: OpenCL programs go on there if the guest has its driver and they \
             did not bring kernels as binaries; else they wait, their images are kept, and xl-gpu request attach tries again"
        )
    }
}

/// This host has none of the chip that the programs were on.
#[derive(Debug, thiserror::Error)]
#[error(
    "its programs were on {wanted}, and the driver's state goes on on the same chip only; this host has {here}"
)]
pub struct OtherChip {
    wanted: Box<Chip>,
    here: String,
}

/// The notice could not be written.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    #[error("the notice: {0}")]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Send(#[from] SendError),
}

impl Notice {
    /// Reads one; `None` for nonsense.
    pub fn parse(bytes: &[u8]) -> Option<Notice> {
        let is_long = bytes.len() as u64 > LONGEST;
        (!is_long).then(|| serde_json::from_slice(bytes).ok())?
    }

    /// Writes it into the stream, as an object of session `key`.
    pub fn send(&self, records: &Records, key: &SessionKey) -> Result<(), NoticeError> {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        let size = bytes.len() as u64;
        let mut batch = BatchBuilder::new(MAX_PAYLOAD, 1);
        if size > LONGEST || !batch.push_data(NOTICE_OBJECT, size, 0, &bytes) {
            return Ok(());
        }
        for last in [false, true] {
            if last {
                batch.clear();
                let _ = batch.push_drop(NOTICE_OBJECT);
            }
            let (payload, table) = (batch.payload(), batch.table());
            let limits = Default::default();
            records.send(key, 0, &Batch::parse(payload, &table, &limits)?)?;
        }
        Ok(())
    }

    /// Compares with the host's GPUs: what is to be said of them.
    ///
    /// # Errors
    /// A chip of which there is none and that programs cannot do without, while there are others for guests.
    pub fn check(&self, here: &[Gpu]) -> Result<Option<OtherModel>, OtherChip> {
        let has = |chip: &Chip| here.iter().any(|gpu| gpu.chip.is_same_as(chip));
        let missing = |chips: &[Chip]| chips.iter().find(|chip| !has(chip)).cloned();
        let (chip, gpu) = (missing(&self.chips), missing(&self.gpus));
        let Some(wanted) = chip.clone().or(gpu) else {
            return Ok(None);
        };
        let others: Vec<String> = here
            .iter()
            .filter(|gpu| gpu.is_for_guests)
            .map(|gpu| format!("{} at {}", gpu.chip, gpu.bdf))
            .collect();
        if others.is_empty() {
            log::warn!("no {wanted} is seen here: programs that were on one wait until there is");
            return Ok(None);
        }
        let here = others.join(", ");
        match chip {
            Some(wanted) => Err(OtherChip {
                wanted: Box::new(wanted),
                here,
            }),
            None => Ok(Some(OtherModel { wanted, here })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chip(device: u16) -> Chip {
        Chip {
            vendor: 0x10de,
            device,
            name: format!("GPU {device}"),
        }
    }

    fn gpu(device: u16, is_for_guests: bool) -> Gpu {
        Gpu {
            bdf: format!("0000:{device:02x}:00.0"),
            chip: chip(device),
            is_for_guests,
        }
    }

    #[test]
    fn another_chip_is_refused_with_both_names() {
        let notice = Notice {
            chips: vec![chip(1), chip(2)],
            ..Notice::default()
        };
        notice.check(&[gpu(2, true), gpu(1, false)]).unwrap();
        let error = notice.check(&[gpu(1, true), gpu(3, true)]).unwrap_err();
        let error = error.to_string();
        for part in [
            "GPU 2 [10de:0002]",
            "GPU 1 [10de:0001] at",
            "GPU 3 [10de:0003] at",
        ] {
            assert!(error.contains(part), "{error}");
        }
        // What there may be is not known: a screen's is none for guests.
        notice.check(&[gpu(7, false)]).unwrap();
        notice.check(&[]).unwrap();
    }

    #[test]
    fn another_model_is_told_of_where_programs_may_go_on() {
        let notice = Notice {
            chips: vec![chip(1)],
            gpus: vec![chip(1), chip(2)],
        };
        assert_eq!(notice.check(&[gpu(2, true), gpu(1, true)]).unwrap(), None);
        let told = notice
            .check(&[gpu(1, true), gpu(3, true)])
            .unwrap()
            .unwrap();
        let told = told.to_string();
        assert!(told.contains("were on GPU 2 [10de:0002]"), "{told}");
        assert!(told.contains("has GPU 1 [10de:0001] at"), "{told}");
        notice.check(&[gpu(2, true)]).unwrap_err();
        assert_eq!(notice.check(&[]).unwrap(), None);
    }

    #[test]
    fn nonsense_is_no_notice() {
        assert_eq!(Notice::parse(b"[1]"), None);
        assert_eq!(Notice::parse(b"{}"), Some(Notice::default()));
        assert_eq!(Notice::parse(&vec![b' '; 1 << 20]), None);
        let notice = Notice {
            chips: vec![chip(1)],
            ..Notice::default()
        };
        let later = br#"{"chips":[{"vendor":4318,"device":1,"name":"GPU 1","more":2}],"new":[]}"#;
        assert_eq!(Notice::parse(later), Some(notice));
    }
}
