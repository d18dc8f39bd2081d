//! What has to be sent, and what was.

use std::any::Any;

use crate::delta::report::PassReport;

/// Whether the program runs meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Runs,
    /// At the closed gate.
    Waits,
}

/// A part of an object's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// The object's id.
    pub object: u64,
    /// The whole object, bytes.
    pub object_size: u64,
    /// First byte of the region.
    pub offset: u64,
    /// Bytes of the region.
    pub len: u64,
}

impl Region {
    /// All of an object of `size` bytes.
    pub fn all_of(object: u64, size: u64) -> Region {
        Region {
            object,
            object_size: size,
            offset: 0,
            len: size,
        }
    }
}

/// What has to be sent now. The compared objects live as long as this does.
#[derive(Default)]
pub struct Round {
    /// To be read whole.
    pub regions: Vec<Region>,
    /// Objects sent in an earlier round that the program has released since.
    pub dropped: Vec<u64>,
    /// What changed in these is found and sent by `send_changed`: each API's own.
    compared: Vec<Box<dyn Any + Send>>,
}

impl Round {
    /// Bytes in all regions.
    pub fn bytes(&self) -> u64 {
        self.regions.iter().map(|region| region.len).sum()
    }

    /// Keeps the objects that an API is to compare.
    pub fn compare<T: Send + 'static>(&mut self, objects: Vec<T>) {
        self.compared.push(Box::new(objects));
    }

    /// The objects that an API has given to [`Round::compare`].
    pub fn compared<T: 'static>(&self) -> &[T] {
        let mut own = self.compared.iter();
        own.find_map(|objects| objects.downcast_ref::<Vec<T>>())
            .map_or(&[], Vec::as_slice)
    }
}

/// What `send_changed` did.
#[derive(Debug, Default)]
pub struct Sent {
    pub report: PassReport,
    /// Still to be read whole: the driver failed in comparing them.
    pub whole: Vec<Region>,
}
