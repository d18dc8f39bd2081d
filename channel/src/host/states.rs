//! The states of a session, as dom0 drives it.

use super::clock::HostTimeouts;
use super::commands::Commander;
use super::error::HostError;
use super::limits::StepLimits;
use super::restore::Source;
use super::sink::Sink;
use crate::answers::{Begun, Opened, Restored, RoundDone, Stopped, Unloaded};
use crate::layout::Layout;
use crate::link::Link;
use crate::message::{STOP_ROUND, ToGuest, ToHost};
use crate::port::Port;
use std::time::Duration;

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
        pub struct $name<L> { guest: Box<Commander<L>> }

        impl<L: Link> $name<L> {
            /// Ends the conversation: the link, to be unmapped before the guest is told to close.
            pub fn into_link(self) -> L {
                self.guest.port.into_link()
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
    pub fn new(link: L, layout: Layout, limits: StepLimits, timeouts: HostTimeouts) -> Self {
        Attached {
            guest: Commander::boxed(Port::host(link, layout), limits, timeouts),
        }
    }

    /// Starts the capture of image `generation`.
    pub fn begin(mut self, generation: u64) -> Step<(Begun, Copying<L>), Self, L> {
        match self
            .guest
            .ask(ToGuest::Begin { generation }, Duration::ZERO, Begun::of)
        {
            Ok(begun) => Ok((begun, Copying { guest: self.guest })),
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
    pub fn round(&mut self, number: u32, sink: &dyn Sink) -> Result<RoundDone, HostError> {
        if number == STOP_ROUND {
            return Err(HostError::RoundNumber(number));
        }
        self.guest.receive(
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
                    left,
                    pinned,
                } if n == u64::from(number) => Some(RoundDone {
                    bytes,
                    dirty,
                    whole,
                    why: why.into(),
                    left,
                    pinned,
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
    ) -> Step<(Stopped, Quiesced<L>), Self, L> {
        let command = ToGuest::Stop {
            timeout_ms: timeout.as_millis().try_into().unwrap_or(u64::MAX),
        };
        match self
            .guest
            .receive(command, timeout, STOP_ROUND, sink, Stopped::of)
        {
            Ok(stop) => Ok((stop, Quiesced { guest: self.guest })),
            Err(e) => Err(self.keep(e)),
        }
    }

    /// Gives the capture up.
    pub fn resume(mut self) -> Step<Attached<L>, Self, L> {
        match self.guest.resume() {
            Ok(_) => Ok(Attached { guest: self.guest }),
            Err(e) => Err(self.keep(e)),
        }
    }
}

impl<L: Link> Quiesced<L> {
    /// Has every GPU object released and the driver unloaded. Where the answer is lost with the link, the
    /// session's next announcement tells whether it has happened: keep the image until then.
    pub fn unload(mut self) -> Step<(Unloaded, Detached<L>), Self, L> {
        let allowance = self.guest.timeouts.long_work();
        match self.guest.ask(ToGuest::Unload {}, allowance, Unloaded::of) {
            Ok(unload) => Ok((unload, Detached { guest: self.guest })),
            Err(e) => Err(self.keep(e)),
        }
    }

    /// Lets the program go on, and the capture with it: what was sent counts. With the nanoseconds that its calls had to wait.
    /// For sessions that speak version 2.
    pub fn reopen(mut self) -> Step<(u64, Copying<L>), Self, L> {
        let reopened = |answer| match answer {
            ToHost::Reopened { blackout_ns } => Some(blackout_ns),
            _ => None,
        };
        match self.guest.ask(ToGuest::Reopen {}, Duration::ZERO, reopened) {
            Ok(blackout_ns) => Ok((blackout_ns, Copying { guest: self.guest })),
            Err(e) => Err(self.keep(e)),
        }
    }

    /// Lets the program go on; nanoseconds its calls had to wait.
    pub fn resume(mut self) -> Step<(u64, Attached<L>), Self, L> {
        match self.guest.resume() {
            Ok(blackout_ns) => Ok((blackout_ns, Attached { guest: self.guest })),
            Err(e) => Err(self.keep(e)),
        }
    }
}

impl<L: Link> Detached<L> {
    /// A session that announced itself detached or arriving, its link just mapped.
    pub fn new(link: L, layout: Layout, limits: StepLimits, timeouts: HostTimeouts) -> Self {
        Detached {
            guest: Commander::boxed(Port::host(link, layout), limits, timeouts),
        }
    }

    /// Serves image `generation` from `source` until all of it has arrived. `opened` is called when the program runs
    /// again; the guest then fetches what it needs first. Keep the image until this has succeeded: a session that
    /// refused may be running, and waits for the same command.
    pub fn restore(
        mut self,
        generation: u64,
        source: &dyn Source,
        opened: &mut dyn FnMut(Opened),
    ) -> Step<(Restored, Attached<L>), Self, L> {
        match self.guest.serve(generation, source, opened) {
            Ok(restored) => Ok((restored, Attached { guest: self.guest })),
            Err(e) => Err(self.keep(e)),
        }
    }
}
