//! What a session reports of each step; each but [`Restored`] is one message's figures.

use crate::link::LeftToDriver;
use crate::message::ToHost;

macro_rules! answers {
    ($($(#[$meta:meta])* $name:ident { $($(#[$about:meta])* $field:ident,)* })*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name { $($(#[$about])* pub $field: u64,)* }

        impl $name {
            /// What the message of that name says.
            pub(crate) fn of(message: ToHost) -> Option<$name> {
                match message {
                    ToHost::$name { $($field),* } => Some($name { $($field),* }),
                    _ => None,
                }
            }
        }

        impl From<$name> for ToHost {
            fn from(answer: $name) -> ToHost {
                let $name { $($field),* } = answer;
                ToHost::$name { $($field),* }
            }
        }
    )* };
}

answers! {
    /// What a started capture will carry.
    Begun {
        /// Buffers resident now.
        buffers,
        /// Their bytes.
        bytes,
        /// Contexts of a driver that moves by its own checkpoint.
        contexts,
        /// Device bytes that are left to that.
        left,
        /// Host bytes that are pinned for devices.
        pinned,
    }

    /// What a stop-and-copy carried.
    Stopped {
        /// Buffer bytes sent.
        bytes,
        /// Buffers the image holds.
        buffers,
        /// Nanoseconds from the closed gate to idle queues.
        drain_ns,
        /// Nanoseconds from idle queues to the last byte in the shared pages.
        copy_ns,
        /// Nanoseconds of these in which the host only waited for comparisons.
        compare_ns,
        /// Bytes that were compared.
        examined,
    }

    /// What an unload found.
    Unloaded {
        /// Nanoseconds it took.
        unload_ns,
        /// Vendor libraries that stayed mapped.
        libraries,
        /// GPU device nodes that the process still has open or mapped: the device cannot be taken away.
        devices,
    }

    /// What the program's way back to running cost.
    Opened {
        /// Nanoseconds the program's calls were blocked, from closed to open gate.
        blackout_ns,
        /// Nanoseconds of these in which the VCPUs were paused.
        downtime_ns,
        /// Nanoseconds for driver and objects.
        reload_ns,
    }
}

/// What a round carried.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundDone {
    /// Buffer bytes sent.
    pub bytes: u64,
    /// Bytes that have changed again already: those found by comparing, and all of what may have changed where
    /// nothing is compared.
    pub dirty: u64,
    /// Bytes of objects that travel whole when anything in them may have changed.
    pub whole: u64,
    /// Why buffers among these are not compared.
    pub why: Whole,
    /// Device bytes that are left to the driver's own checkpoint.
    pub left: u64,
    /// Host bytes that are pinned for devices.
    pub pinned: u64,
}

impl Begun {
    /// What the driver's own checkpoint will have to carry.
    pub fn left_to_driver(&self) -> LeftToDriver {
        LeftToDriver {
            contexts: self.contexts,
            bytes: self.left,
            pinned: self.pinned,
        }
    }
}

/// Why buffers travel whole instead of being compared on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whole {
    /// None does that could be compared: only images, and contexts with very little in their buffers.
    #[default]
    Not,
    /// The device's compiler does not take the kernels that compare, or there is none.
    NoKernels,
    /// The device has no memory left for the tables.
    NoMemory,
    /// The driver failed in comparing.
    Driver,
    /// The program's environment says so.
    Off,
    /// The device's compiler makes wrong code of the kernels that compare: they were tried, and failed.
    WrongKernels,
    /// A reason this build does not know.
    Other(u64),
}

impl From<u64> for Whole {
    fn from(number: u64) -> Whole {
        match number {
            0 => Whole::Not,
            1 => Whole::NoKernels,
            2 => Whole::NoMemory,
            3 => Whole::Driver,
            4 => Whole::Off,
            5 => Whole::WrongKernels,
            other => Whole::Other(other),
        }
    }
}

impl From<Whole> for u64 {
    fn from(why: Whole) -> u64 {
        match why {
            Whole::Not => 0,
            Whole::NoKernels => 1,
            Whole::NoMemory => 2,
            Whole::Driver => 3,
            Whole::Off => 4,
            Whole::WrongKernels => 5,
            Whole::Other(number) => number,
        }
    }
}

impl std::fmt::Display for Whole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Whole::Not => "none that could be compared",
            Whole::NoKernels => "the device's compiler does not take the kernels that compare",
            Whole::NoMemory => "the device has no memory left to compare with",
            Whole::Driver => "the driver failed in comparing; the program's log has its error",
            Whole::WrongKernels => {
                "the device's compiler makes wrong code of the kernels that compare; the program's log says where"
            }
            Whole::Off => "comparing is switched off in the program's environment",
            Whole::Other(_) => "for a reason that this version does not know",
        })
    }
}

/// A whole restore, as dom0 sees it: [`Opened`] and what has arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Nanoseconds the program's calls were blocked, from closed to open gate.
    pub blackout_ns: u64,
    /// Nanoseconds of these in which the VCPUs were paused.
    pub downtime_ns: u64,
    /// Nanoseconds for driver and objects.
    pub reload_ns: u64,
    /// Buffer bytes fetched.
    pub bytes: u64,
}

/// What has arrived when everything has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fetched {
    /// Buffer bytes fetched in this step.
    pub bytes: u64,
}

impl From<Fetched> for ToHost {
    fn from(a: Fetched) -> ToHost {
        ToHost::Restored { bytes: a.bytes }
    }
}
