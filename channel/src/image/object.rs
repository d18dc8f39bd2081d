//! Object numbers: the GPU API in the top octet, that API's own number below it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A GPU API. The set is open: what this build does not know is carried and shown as its number.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Api(pub u8);

impl Api {
    /// OpenCL: all objects of images before format 1.1.
    pub const OPENCL: Api = Api(0);
    /// CUDA's driver API.
    pub const CUDA: Api = Api(1);
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Api::OPENCL => f.write_str("OpenCL"),
            Api::CUDA => f.write_str("CUDA"),
            Api(number) => write!(f, "API {number}"),
        }
    }
}

/// An object's number within its session, unique across APIs. dom0 only compares it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectId(u64);

impl ObjectId {
    const NUMBER_BITS: u32 = 56;

    /// Object `number` of `api`.
    ///
    /// # Panics
    /// When `number` has more than 56 bits.
    pub const fn new(api: Api, number: u64) -> ObjectId {
        assert!(number >> Self::NUMBER_BITS == 0, "object number too large");
        ObjectId((api.0 as u64) << Self::NUMBER_BITS | number)
    }

    /// The API that it belongs to; of no meaning for the manifest.
    pub const fn api(self) -> Api {
        Api((self.0 >> Self::NUMBER_BITS) as u8)
    }

    /// Its number among the objects of its API.
    pub const fn number(self) -> u64 {
        self.0 & ((1 << Self::NUMBER_BITS) - 1)
    }
}

impl From<u64> for ObjectId {
    fn from(id: u64) -> ObjectId {
        ObjectId(id)
    }
}

impl From<ObjectId> for u64 {
    fn from(id: ObjectId) -> u64 {
        id.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.api() {
            Api::OPENCL => write!(f, "{}", self.number()),
            api => write!(f, "{} of {api}", self.number()),
        }
    }
}
