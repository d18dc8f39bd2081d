//! dom0's end: what a daemon may do with a session, each state a type.
//!
//! ```text
//!            begin              stop               unload           close
//!  Attached ───────> Copying ────────> Quiesced ─────────> Detached ──────> (image in the spool)
//!     ^  ^   resume     │    resume       │                    │
//!     │  └──────────────┴─────────────────┘                    │
//!     └────────────────────── restore ─────────────────────────┘
//! ```
//!
//! In the middle of a restore the program runs already and the rest arrives; a session that lost its link then is
//! opened as `Detached` again: it gets the same command.
//!
//! Nothing the guest writes is trusted: messages and batches are copied to private memory first and
//! validated there, and the first nonsense ends the session. A guest can be slow only up to
//! [`Patience`], and send only as much as [`Limits`] grants. Figures in its answers are claims: good for
//! a prediction, never for an allocation.

#![forbid(unsafe_code)]

mod capture;
mod clock;
mod error;
mod limits;
mod restore;
mod sink;
mod wire;
mod workers;

pub use clock::Patience;
pub use error::{HostError, printable};
pub use limits::Limits;
pub use restore::{Contents, Source};
pub use sink::{SerialSink, Sink, one_by_one, workers_each};

use crate::guest::{Begun, Opened, Restored, Round, Stop, Unload};
use crate::layout::Layout;
use crate::link::Link;
use crate::message::{STOP_ROUND, ToGuest, ToHost};
use crate::port::Port;
use std::time::Duration;
use wire::Wire;

/// A step that failed, and the state the session is in now: as before, or lost where the link is of no
/// more use.
pub struct Refused<S, L> {
    /// The session, if it can still be talked to.
    pub session: Option<S>,
    /// The link of a lost session, to be unmapped.
    pub link: Option<L>,
    /// Why.
    pub error: HostError,
}

impl<S, L> std::fmt::Debug for Refused<S, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let session = if self.session.is_some() {
            "kept"
        } else {
            "lost"
        };
        write!(f, "Refused({}, session {session})", self.error)
    }
}

macro_rules! states {
    ($($(#[$meta:meta])* $name:ident),*) => { $(
        $(#[$meta])*
        pub struct $name<L> { wire: Box<Wire<L>> }

        impl<L: Link> $name<L> {
            /// Ends the conversation: the link, to be unmapped before the guest is told to close.
            pub fn into_link(self) -> L {
                self.wire.port.into_link()
            }

            #[allow(dead_code)]
            fn keep(self, error: HostError) -> Refused<Self, L> {
                if error.ends_the_link() {
                    Refused { session: None, link: Some(self.into_link()), error }
                } else {
                    Refused { session: Some(self), link: None, error }
                }
            }
        }

        impl<L> std::fmt::Debug for $name<L> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )* };
}

states! {
    /// The program runs natively.
    Attached,
    /// A capture has begun; the program runs.
    Copying,
    /// The program's API calls wait; everything has been sent.
    Quiesced,
    /// The driver is gone, or contents have still to arrive.
    Detached
}

type Step<To, From, L> = Result<To, Refused<From, L>>;

impl<L: Link> Attached<L> {
    /// A session whose link has just been mapped.
    pub fn new(link: L, layout: Layout, limits: Limits, patience: Patience) -> Self {
        Attached {
            wire: Wire::boxed(Port::host(link, layout), limits, patience),
        }
    }

    /// Starts the capture of image `generation`.
    pub fn begin(mut self, generation: u64) -> Step<(Begun, Copying<L>), Self, L> {
        match self.wire.ask(
            ToGuest::Begin { generation },
            Duration::ZERO,
            |answer| match answer {
                ToHost::Begun { buffers, bytes } => Some(Begun { buffers, bytes }),
                _ => None,
            },
        ) {
            Ok(begun) => Ok((begun, Copying { wire: self.wire })),
            Err(e) => Err(self.keep(e)),
        }
    }
}

impl<L: Link> Copying<L> {
    /// Takes one round into `sink` while the program runs. Round 0 is everything. Figures are the guest's claim.
    ///
    /// # Errors
    /// After one that [`HostError::ends_the_link`] only [`Copying::into_link`] makes sense, after
    /// [`HostError::Store`] only [`Copying::resume`].
    pub fn round(&mut self, number: u32, sink: &dyn Sink) -> Result<Round, HostError> {
        if number == STOP_ROUND {
            return Err(HostError::RoundNumber(number));
        }
        self.wire.receive(
            ToGuest::Round {
                number: number.into(),
            },
            Duration::ZERO,
            number,
            sink,
            |answer| match answer {
                ToHost::RoundDone {
                    number: n,
                    bytes,
                    dirty,
                    whole,
                    why,
                } if n == u64::from(number) => Some(Round {
                    bytes,
                    dirty,
                    whole,
                    why: why.into(),
                }),
                _ => None,
            },
        )
    }

    /// Closes the gate, waits for idle queues at most `timeout`, takes the rest into `sink`. From here on the
    /// program waits: it goes on by itself when it hears nothing for `timeout` and another minute.
    pub fn stop(
        mut self,
        timeout: Duration,
        sink: &dyn Sink,
    ) -> Step<(Stop, Quiesced<L>), Self, L> {
        let command = ToGuest::Stop {
            timeout_ms: timeout.as_millis().try_into().unwrap_or(u64::MAX),
        };
        match self
            .wire
            .receive(command, timeout, STOP_ROUND, sink, |answer| match answer {
                ToHost::Stopped {
                    bytes,
                    buffers,
                    drain_ns,
                    copy_ns,
                    compare_ns,
                    examined,
                } => Some(Stop {
                    bytes,
                    buffers,
                    drain_ns,
                    copy_ns,
                    compare_ns,
                    examined,
                }),
                _ => None,
            }) {
            Ok(stop) => Ok((stop, Quiesced { wire: self.wire })),
            Err(e) => Err(self.keep(e)),
        }
    }

    /// Gives the capture up.
    pub fn resume(mut self) -> Step<Attached<L>, Self, L> {
        match self.wire.resume() {
            Ok(_) => Ok(Attached { wire: self.wire }),
            Err(e) => Err(self.keep(e)),
        }
    }
}

impl<L: Link> Quiesced<L> {
    /// Has every GPU object released and the driver unloaded. Where the answer is lost with the link, the
    /// session's next announcement tells whether it has happened: keep the image until then.
    pub fn unload(mut self) -> Step<(Unload, Detached<L>), Self, L> {
        let allowance = self.wire.patience.long_work();
        match self
            .wire
            .ask(ToGuest::Unload {}, allowance, |answer| match answer {
                ToHost::Unloaded {
                    unload_ns,
                    libraries,
                    devices,
                } => Some(Unload {
                    unload_ns,
                    libraries,
                    devices,
                }),
                _ => None,
            }) {
            Ok(unload) => Ok((unload, Detached { wire: self.wire })),
            Err(e) => Err(self.keep(e)),
        }
    }

    /// Lets the program go on; nanoseconds its calls had to wait.
    pub fn resume(mut self) -> Step<(u64, Attached<L>), Self, L> {
        match self.wire.resume() {
            Ok(blackout_ns) => Ok((blackout_ns, Attached { wire: self.wire })),
            Err(e) => Err(self.keep(e)),
        }
    }
}

impl<L: Link> Detached<L> {
    /// A session that announced itself detached or arriving, its link just mapped.
    pub fn new(link: L, layout: Layout, limits: Limits, patience: Patience) -> Self {
        Detached {
            wire: Wire::boxed(Port::host(link, layout), limits, patience),
        }
    }

    /// Serves image `generation` from `source` until all of it has arrived. `opened` is called when the program runs
    /// again: what it needs first comes first. The image must be kept until this has succeeded; a refused session may
    /// be running, and waits for the same command.
    pub fn restore(
        mut self,
        generation: u64,
        source: &dyn Source,
        opened: &mut dyn FnMut(Opened),
    ) -> Step<(Restored, Attached<L>), Self, L> {
        match self.wire.serve(generation, source, opened) {
            Ok(restored) => Ok((restored, Attached { wire: self.wire })),
            Err(e) => Err(self.keep(e)),
        }
    }
}
