//! All sessions of a domain at once: rounds, the stop, the unload, and the way back from any of them.

use super::capture_sink::CaptureSink;
use super::images::Images;
use super::laps::Laps;
use super::parallel::in_parallel;
use super::session::{OpenSession, SessionError};
use channel::guest::{Begun, RoundDone, Stopped, Unloaded, Whole};
use channel::host::StepLimits;
use channel::image::SessionKey;
use channel::link::{LeftToDriver, Peer};
use protocol::blackout::Part;
use protocol::status::Purpose;
use spool::SpoolError;
use std::time::{Duration, Instant};
use stream::Totals;

/// A capture failed.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// One of the sessions; the first, where several failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// An image could not be kept.
    #[error("the captured image cannot be kept: {0}")]
    Spool(#[from] SpoolError),
    /// They do not come to rest at the same time.
    #[error(
        "{error}; the domain's programs were stopped {tries} times and went on in between: kernels of one may wait for those of another"
    )]
    NotTogether {
        tries: usize,
        #[source]
        error: SessionError,
    },
    /// Something in the programs still holds the GPU.
    #[error(
        "its programs still have {0} GPU device nodes open or mapped although their driver is unloaded: its PCI device cannot be taken away"
    )]
    Held(u64),
}

/// The open sessions of one domain.
pub struct Capture {
    domid: u32,
    sessions: Vec<OpenSession>,
}

/// Sums of what the sessions of a capture said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sums {
    /// Buffer bytes sent.
    pub bytes: u64,
    /// Bytes that may have changed again.
    pub dirty: u64,
    /// Bytes of objects that are sent whole, not compared on the device.
    pub whole: u64,
    /// Why buffers among them are not compared; one reason, where there are several.
    pub why: Whole,
    /// Bytes compared.
    pub examined: u64,
    /// The longest of the sessions' times, in nanoseconds: they run side by side.
    pub longest_ns: u64,
    /// The longest time spent waiting for comparisons alone, in nanoseconds.
    pub compare_ns: u64,
}

/// Not all sessions have stopped.
#[derive(Debug)]
pub struct NotStopped {
    /// Why the first one has not.
    pub first: SessionError,
    /// All that have not only took too long, and can be talked to.
    pub only_late: bool,
    /// What the others have sent.
    pub bytes: u64,
}

impl Sums {
    /// With one more session's stop.
    fn and(self, stop: &Stopped) -> Sums {
        Sums {
            bytes: self.bytes.saturating_add(stop.bytes),
            longest_ns: self.longest_ns.max(stop.drain_ns),
            examined: self.examined.saturating_add(stop.examined),
            compare_ns: self.compare_ns.max(stop.compare_ns),
            ..self
        }
    }

    /// Why pre-copy may send more than what changed, for people.
    pub fn uncompared(&self) -> Option<String> {
        let told = self.why != Whole::Not;
        told.then(|| format!("{} bytes travel whole: {}", self.whole, self.why))
    }
}

impl Capture {
    /// Opens all `peers` and begins a capture of each. On an error all are closed again.
    pub fn open(
        domid: u32,
        peers: Vec<Box<dyn Peer>>,
        images: &Images,
        limits: StepLimits,
        patience: Duration,
    ) -> Result<(Self, Vec<Begun>), CaptureError> {
        let opened = in_parallel(peers, |peer| {
            let (session, announced) = {
                let a = peer.announcement();
                (a.session, a.generation)
            };
            let generation = images.next_generation(domid, session, announced);
            let key = SessionKey {
                session,
                generation,
            };
            let mut open = OpenSession::open(peer, key, images.new_image(domid), limits, patience)?;
            match open.begin() {
                Ok(begun) => Ok((open, begun)),
                Err(e) => {
                    open.undo();
                    Err(e)
                }
            }
        });
        let mut capture = Capture {
            domid,
            sessions: Vec::new(),
        };
        let mut all = Vec::new();
        let mut failure = None;
        for result in opened {
            match result {
                Ok((session, begun)) => {
                    capture.sessions.push(session);
                    all.push(begun);
                }
                Err(e) => failure = failure.or(Some(e)),
            }
        }
        match failure {
            None => Ok((capture, all)),
            Some(e) => {
                capture.undo(images);
                Err(e.into())
            }
        }
    }

    /// The images this capture makes.
    pub fn keys(&self) -> Vec<SessionKey> {
        self.sessions.iter().map(OpenSession::key).collect()
    }

    /// The sessions, open.
    pub fn opened(&self) -> impl Iterator<Item = &OpenSession> {
        self.sessions.iter()
    }

    /// What is left to each session's driver, as it said last.
    pub fn left_to_drivers(&self) -> impl Iterator<Item = (SessionKey, LeftToDriver)> {
        self.sessions.iter().map(|s| (s.key(), s.left))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sessions.len()
    }

    /// What the images hold.
    pub fn totals(&self) -> impl Iterator<Item = (SessionKey, Totals)> {
        self.sessions.iter().map(|s| (s.key(), s.image.totals()))
    }

    /// Compares the captured images with their manifests.
    pub fn check(&self) -> Result<(), SessionError> {
        self.sessions.iter().try_for_each(OpenSession::check)
    }

    fn each<T: Send>(
        &mut self,
        step: impl Fn(&mut OpenSession) -> Result<T, SessionError> + Sync,
    ) -> Result<Vec<T>, SessionError> {
        in_parallel(self.sessions.iter_mut(), step)
            .into_iter()
            .collect()
    }

    /// One round of all sessions while the programs run.
    pub fn round(&mut self, number: u32, sink: &CaptureSink<'_>) -> Result<Sums, SessionError> {
        let rounds = self.each(|s| s.round(number, sink))?;
        Ok(rounds
            .into_iter()
            .fold(Sums::default(), |sum, r: RoundDone| Sums {
                bytes: sum.bytes.saturating_add(r.bytes),
                dirty: sum.dirty.saturating_add(r.dirty),
                whole: sum.whole.saturating_add(r.whole),
                why: match r.why {
                    Whole::Not => sum.why,
                    why => why,
                },
                ..sum
            }))
    }

    /// Stops all programs' GPU calls and takes the rest; `longest_ns` is the drain.
    pub fn stop(&mut self, timeout: Duration, sink: &CaptureSink<'_>) -> Result<Sums, NotStopped> {
        let stops = in_parallel(self.sessions.iter_mut(), |s| {
            let begun = Instant::now();
            let stopped = s.stop(timeout, sink);
            let is_late = begun.elapsed() >= timeout && !s.was_at_rest;
            stopped.map_err(|e| (e.is_refusal() && is_late, e))
        });
        let (mut sums, mut failed) = (Sums::default(), None);
        for stop in stops {
            match (stop, &failed) {
                (Ok(s), _) => sums = sums.and(&s),
                // One that is not only late says more than those that are.
                (Err(error), None) => failed = Some(error),
                (Err(error), Some((true, _))) if !error.0 => failed = Some(error),
                (Err(_), Some(_)) => {}
            }
        }
        match failed {
            None => Ok(sums),
            Some((only_late, first)) => Err(NotStopped {
                first,
                only_late,
                bytes: sums.bytes,
            }),
        }
    }

    /// Whether a stop can be taken back without losing what was sent.
    pub fn can_reopen(&self) -> bool {
        self.sessions.iter().all(OpenSession::can_reopen)
    }

    /// Lets those that have stopped go on; their captures do, too.
    pub fn reopen(&mut self) -> Result<(), SessionError> {
        self.each(OpenSession::reopen).map(drop)
    }

    /// Puts all images on record: from here on they may be all there is.
    pub fn save(
        &mut self,
        images: &Images,
        identity: Option<&str>,
        purpose: Purpose,
    ) -> Result<(), CaptureError> {
        let domid = self.domid;
        for session in &mut self.sessions {
            let (key, identity) = (session.key(), identity.map(str::to_owned));
            images.save(domid, identity, key, &mut session.image, purpose)?;
        }
        Ok(())
    }

    /// Has all drivers unloaded: the longest time, and all that they left behind. It is logged, too: the GPU may not be free
    /// then, but nothing of its state is lost.
    pub fn unload(&mut self) -> Result<Unloaded, SessionError> {
        let domid = self.domid;
        let unloads = self.each(|s| {
            let left = s.unload()?;
            if left.libraries > 0 || left.devices > 0 {
                log::warn!(
                    "domain {domid}: session {}: {} libraries of the GPU's driver stayed loaded, {} device nodes open",
                    s.key(),
                    left.libraries,
                    left.devices
                );
            }
            Ok(left)
        })?;
        Ok(unloads.iter().fold(Unloaded::default(), |all, u| Unloaded {
            unload_ns: all.unload_ns.max(u.unload_ns),
            libraries: all.libraries.saturating_add(u.libraries),
            devices: all.devices.saturating_add(u.devices),
        }))
    }

    /// Lets all programs go on and closes; the longest time their calls had to wait, in nanoseconds.
    pub fn resume(&mut self) -> Result<u64, SessionError> {
        let waits = self.each(|s| {
            let waited = s.resume()?;
            s.close()?;
            Ok(waited)
        })?;
        Ok(waits.into_iter().max().unwrap_or(0))
    }

    /// Unmaps everything and has the guests end their sides.
    pub fn close(&mut self) -> Result<(), SessionError> {
        self.each(OpenSession::close).map(drop)
    }

    /// Back to the running programs. Images of sessions that could not be brought back stay, to be served as soon
    /// as the session asks.
    pub fn undo(mut self, images: &Images) {
        in_parallel(self.sessions.iter_mut(), OpenSession::undo);
        for session in self.sessions {
            // Others have their state back: dropping the image takes it off the record.
            if session.given_up {
                let key = session.key();
                log::error!(
                    "domain {}: session {key} is not back yet; its image is kept for it",
                    self.domid
                );
                if let Err(e) = images.insert(self.domid, key, session.image, Purpose::Serve) {
                    log::error!("domain {}: session {key}: {e}", self.domid);
                }
            }
        }
    }

    /// From stopped programs to sessions that hold nothing: images on record, drivers unloaded, pages unmapped, images kept
    /// for `purpose`. `free`: their GPU must be free afterwards. On an error before the images are kept the programs go on.
    pub fn release(
        mut self,
        images: &Images,
        identity: Option<&str>,
        purpose: Purpose,
        free: bool,
        laps: &mut Laps,
    ) -> Result<Vec<SessionKey>, CaptureError> {
        let mut steps = || {
            self.save(images, identity, purpose)?;
            laps.end(Part::Seal);
            let left = self.unload()?;
            laps.end(Part::Unload);
            if free && left.devices > 0 {
                return Err(CaptureError::Held(left.devices));
            }
            Ok(self.close()?)
        };
        if let Err(e) = steps() {
            self.undo(images);
            return Err(e);
        }
        let keys = self.keys();
        self.keep(images, purpose)?;
        Ok(keys)
    }

    /// Hands the images over to be kept, on record as they are; the sessions must be closed. Where one cannot be kept
    /// the others are, and the first error is reported.
    pub fn keep(self, images: &Images, purpose: Purpose) -> Result<(), CaptureError> {
        let mut kept = Ok(());
        for session in self.sessions {
            kept = kept.and(images.insert(self.domid, session.key(), session.image, purpose));
        }
        Ok(kept?)
    }
}
