//! The daemon in the process: one move after another.

use std::time::{Duration, Instant};

use channel::host::{
    Attached, Copying, Detached, HostError, HostTimeouts, Refused, StepLimits, one_by_one,
};
use channel::layout::Layout;
use channel::link::{Link, Peer};
use channel::loopback::LoopbackPeer;

use super::image::Image;
use super::pace::{self, Stress};
use super::report::{Counts, Moving};
use runtime::gate::Pass;
use runtime::{mover, start};

/// For answers of the session's thread, which shares the machine with the program's.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Rounds while the program runs: the first takes everything, the second what the program wrote meanwhile.
const ROUNDS: u32 = 2;

/// From a failed restore to the next try.
const PAUSE: Duration = Duration::from_millis(50);

/// Every so many failures in a row are worth a warning.
const OFTEN: u64 = 100;

/// What a slow daemon takes for each fetch.
const SLOW: Duration = Duration::from_millis(1);

type DynLink = Box<dyn Link>;

/// The host end of the process's one session.
pub(super) struct Daemon {
    peer: LoopbackPeer,
    stress: Stress,
    image: Image,
    generation: u64,
}

/// How a move ended. The program runs on in every case.
enum Outcome {
    Moved {
        blackout_ns: u64,
        retries: u64,
    },
    GivenUp {
        why: String,
        blackout_ns: u64,
    },
    /// It was there and back, but had not let go of so many devices: dom0 would have gone no further.
    Held {
        devices: u64,
        blackout_ns: u64,
    },
}

impl Daemon {
    pub(super) fn new(peer: LoopbackPeer, stress: Stress) -> Daemon {
        Daemon {
            peer,
            stress,
            image: Image::default(),
            generation: 0,
        }
    }

    /// Moves until the program exits.
    pub(super) fn run(mut self) {
        runtime::fork::is_movers_thread();
        pace::count_none_here();
        // Makes this thread known as one of ours: it is no driver's thread that keeps a library.
        drop(start::enter(Pass::Drains));
        loop {
            self.stress.pace.wait();
            let Some(moving) = Moving::start() else {
                // The process ends with this end of the link open: a session that saw it go would say so.
                std::mem::forget(self);
                return;
            };
            let outcome = self.move_once();
            let bytes = self.image.taken;
            moving.end(|counts| {
                counts.bytes = bytes;
                count(counts, &outcome);
            });
            if matches!(outcome, Outcome::GivenUp { .. }) {
                pace::moved();
            }
        }
    }

    fn move_once(&mut self) -> Outcome {
        let (link, layout) = match self.peer.open(PATIENCE) {
            Ok(open) => open,
            // The program has what it had. It may lack descriptors or address space for both ends of a link.
            Err(error) if !has_ended(&error) => {
                return given_up(&error, 0);
            }
            Err(error) => lost(&format!("the session does not open: {error}")),
        };
        let (outcome, link) = self.over(link, layout);
        self.peer
            .close(link, PATIENCE)
            .unwrap_or_else(|error| lost(&format!("the session does not close: {error}")));
        self.image.clear();
        outcome
    }

    /// A whole move over an open link.
    fn over(&mut self, link: DynLink, layout: Layout) -> (Outcome, DynLink) {
        let limits = StepLimits {
            round_bytes: 1 << 44,
            batch: channel::image::BatchLimits::default(),
        };
        let patience = HostTimeouts { silence: PATIENCE };
        self.generation += 1;
        let mut copying = match Attached::new(link, layout, limits, patience).begin(self.generation)
        {
            Ok((_, copying)) => copying,
            Err(refused) => {
                let (attached, why) = kept(refused);
                return (given_up(&why, 0), attached.into_link());
            }
        };
        for number in 0..ROUNDS {
            if let Err(why) = copying.round(number, &one_by_one(&mut self.image)) {
                return resume(copying, why);
            }
        }
        let quiesced = match copying.stop(self.stress.drain, &one_by_one(&mut self.image)) {
            Ok((_, quiesced)) => quiesced,
            Err(refused) => {
                // It may be work that waits for that very call.
                pace::moved();
                let (copying, why) = kept(refused);
                return resume(copying, why);
            }
        };
        match quiesced.unload() {
            Ok((unloaded, detached)) => {
                let (blackout_ns, retries, link) = self.restore(detached);
                let outcome = match unloaded.devices {
                    0 => Outcome::Moved {
                        blackout_ns,
                        retries,
                    },
                    devices => Outcome::Held {
                        devices,
                        blackout_ns,
                    },
                };
                (outcome, link)
            }
            Err(refused) => {
                let (quiesced, why) = kept(refused);
                let (blackout_ns, attached) = quiesced
                    .resume()
                    .unwrap_or_else(|refused| lost(&refused.error.to_string()));
                (given_up(&why, blackout_ns), attached.into_link())
            }
        }
    }

    /// Nanoseconds for which the program was held, and how many tries had failed.
    fn restore(&mut self, mut detached: Detached<DynLink>) -> (u64, u64, DynLink) {
        // Now and then, so that the program runs into contents that are not there yet.
        let slowness = if self.generation.is_multiple_of(4) {
            SLOW
        } else {
            Duration::ZERO
        };
        self.image.serve_slowly(slowness);
        // The call that made the move due goes on with everybody else, while contents arrive.
        let mut let_go = false;
        let began = Instant::now();
        let mut retries = 0;
        loop {
            match detached.restore(self.generation, &self.image, &mut |_| {
                if !std::mem::replace(&mut let_go, true) {
                    pace::moved();
                }
            }) {
                Ok((restored, attached)) => {
                    return (restored.blackout_ns, retries, attached.into_link());
                }
                Err(refused) => {
                    let why;
                    (detached, why) = kept(refused);
                    match retries % OFTEN {
                        0 => log::warn!("stress: a restore failed and is tried again: {why}"),
                        _ => log::info!("stress: a restore failed: {why}"),
                    }
                    if began.elapsed() > PATIENCE && !mover::lacks_headroom() {
                        lost(&why.to_string());
                    }
                    retries += 1;
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }
}

/// Whether nobody is at the session's end any more.
fn has_ended(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionReset | TimedOut | UnexpectedEof
    )
}

fn given_up(why: &dyn std::error::Error, blackout_ns: u64) -> Outcome {
    let why = why.to_string();
    Outcome::GivenUp { why, blackout_ns }
}

fn resume(copying: Copying<DynLink>, why: HostError) -> (Outcome, DynLink) {
    if why.ends_the_link() {
        lost(&why.to_string());
    }
    match copying.resume() {
        Ok(attached) => (given_up(&why, 0), attached.into_link()),
        Err(refused) => lost(&refused.error.to_string()),
    }
}

/// The state that a refusal left things in.
fn kept<S>(refused: Refused<S, DynLink>) -> (S, HostError) {
    match refused.session {
        Some(session) => (session, refused.error),
        None => lost(&refused.error.to_string()),
    }
}

/// A program without its session cannot go on to any result: its test must end here, not hang.
fn lost(why: &str) -> ! {
    log::error!("stress: the program's state is lost: {why}");
    std::process::abort()
}

fn count(counts: &mut Counts, outcome: &Outcome) {
    let blackout = match outcome {
        Outcome::Moved {
            blackout_ns,
            retries,
        } => {
            counts.moves += 1;
            counts.failed += retries;
            *blackout_ns
        }
        Outcome::Held {
            devices,
            blackout_ns,
        } => {
            log::warn!("stress: {devices} devices were still held");
            counts.failed += 1;
            *blackout_ns
        }
        Outcome::GivenUp {
            why: text,
            blackout_ns,
        } => {
            log::info!("stress: {text}");
            // The session passes the mover's own words on.
            if text.contains("cannot be migrated") {
                counts.blocked += 1;
            } else if text.contains("did not come to rest") {
                counts.not_quiet += 1;
            } else {
                log::warn!("stress: a move was given up: {text}");
                counts.failed += 1;
            }
            *blackout_ns
        }
    };
    counts.longest_blackout_ns = counts.longest_blackout_ns.max(blackout);
}
