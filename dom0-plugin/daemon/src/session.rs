//! One session while it is captured: the state it is in, the image it fills, and the way back.

use super::capture_sink::CaptureSink;
use super::image_source::{ImageSource, check_manifest};
use super::passthrough::error::DeviceError;
use channel::guest::{Begun, RoundDone, Stopped, Unloaded};
use channel::host::{
    Attached, Copying, Detached, HostError, HostTimeouts, Quiesced, Refused, StepLimits,
};
use channel::image::SessionKey;
use channel::link::{LeftToDriver, Link, Others, Peer};
use spool::{Image, SpoolError};
use std::time::Duration;

type L = Box<dyn Link>;

/// The first version of the channel's protocol in which a stop can be taken back.
const REOPENS: u32 = 2;

/// How long a guest may take to end its side of a link.
pub const CLOSE_PATIENCE: Duration = Duration::from_secs(20);

/// Something went wrong with one session.
#[derive(Debug, thiserror::Error)]
#[error("session {key} ({who}): {step}: {problem}")]
pub struct SessionError {
    /// The session and the generation of the image in question.
    pub key: SessionKey,
    /// Program and process id, as the guest tells them.
    pub who: String,
    /// What was being done.
    pub step: &'static str,
    /// What happened. Boxed: the channel's errors are large.
    #[source]
    pub problem: Box<Problem>,
}

impl SessionError {
    /// True where the session, and most likely its domain, is no more.
    pub fn is_gone(&self) -> bool {
        matches!(&*self.problem, Problem::Silent(e) if e.kind() == std::io::ErrorKind::NotFound)
    }
}

impl SessionError {
    /// True where the session says itself that it could not, and is as it was before.
    pub fn is_refusal(&self) -> bool {
        matches!(&*self.problem, Problem::Step(HostError::Refused(_)))
    }
}

/// What can happen to a session.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The rendezvous failed.
    #[error(
        "it does not answer: {0}; if its process is dead, clear it with: xl-gpu forget DOMAIN SESSION"
    )]
    Silent(#[source] std::io::Error),
    /// A step of the protocol failed.
    #[error(transparent)]
    Step(#[from] HostError),
    /// A step that its state does not allow: the link was lost before.
    #[error("the channel to it was lost")]
    Lost,
    /// What was captured is not what the session says it is, or cannot be kept.
    #[error(transparent)]
    Image(#[from] SpoolError),
    /// Its GPU could not be attached.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

enum Stage {
    Attached(Attached<L>),
    Copying(Copying<L>),
    Quiesced(Quiesced<L>),
    Detached(Detached<L>),
    Closed,
}

macro_rules! stages {
    ($($stage:ident)*) => {$(
        impl From<$stage<L>> for Stage {
            fn from(session: $stage<L>) -> Stage {
                Stage::$stage(session)
            }
        }
    )*};
}

stages!(Attached Copying Quiesced Detached);

/// An open session.
pub struct OpenSession {
    peer: Box<dyn Peer>,
    key: SessionKey,
    who: String,
    stage: Stage,
    /// Pages it shares.
    pub pages: usize,
    /// What is left to a driver's own checkpoint, as it said last.
    pub left: LeftToDriver,
    /// In the last stop it came to rest: it has sent something.
    pub was_at_rest: bool,
    /// What has been captured so far.
    pub image: Image,
    /// True from the moment the guest may have given its GPU state up: the image is then all there is.
    pub given_up: bool,
}

/// Program and process id of a peer, for messages.
pub fn who(peer: &dyn Peer) -> String {
    let a = peer.announcement();
    format!("{}, pid {}", protocol::text::clean(&a.program), a.pid)
}

impl OpenSession {
    /// Opens a session, to capture image `key` into `image`.
    pub fn open(
        mut peer: Box<dyn Peer>,
        key: SessionKey,
        image: Image,
        limits: StepLimits,
        patience: Duration,
    ) -> Result<Self, SessionError> {
        let who = who(&*peer);
        match peer.open(patience) {
            Ok((link, layout)) => Ok(OpenSession {
                peer,
                key,
                who,
                pages: layout.pages(),
                stage: Stage::Attached(Attached::new(
                    link,
                    layout,
                    limits,
                    HostTimeouts::default(),
                )),
                left: LeftToDriver::default(),
                was_at_rest: false,
                image,
                given_up: false,
            }),
            Err(e) => Err(SessionError {
                key,
                who,
                step: "opening",
                problem: Box::new(Problem::Silent(e)),
            }),
        }
    }

    /// The session and the generation of its image.
    pub fn key(&self) -> SessionKey {
        self.key
    }

    /// Who else holds its GPU.
    pub fn others(&self) -> &Others {
        &self.peer.announcement().others
    }

    /// The session, its program and process id, for messages.
    pub fn describe(&self) -> String {
        format!("session {} ({})", self.key.session, self.who)
    }

    fn error(&self, step: &'static str, problem: impl Into<Problem>) -> SessionError {
        SessionError {
            key: self.key,
            who: self.who.clone(),
            step,
            problem: Box::new(problem.into()),
        }
    }

    fn take(&mut self) -> Stage {
        std::mem::replace(&mut self.stage, Stage::Closed)
    }

    /// After a step: the state it came to, or the one it left, or a closed link.
    fn after<T, S: Into<Stage>, N: Into<Stage>>(
        &mut self,
        step: &'static str,
        result: Result<(T, N), Refused<S, L>>,
    ) -> Result<T, SessionError> {
        let refused = match result {
            Ok((value, next)) => {
                self.stage = next.into();
                return Ok(value);
            }
            Err(refused) => refused,
        };
        if let Some(session) = refused.session {
            self.stage = session.into();
        } else if let Some(link) = refused.link {
            self.close_link(link);
        }
        Err(self.error(step, refused.error))
    }

    fn close_link(&mut self, link: L) {
        if let Err(e) = self.peer.close(link, CLOSE_PATIENCE) {
            log::warn!("session {} ({}): closing: {e}", self.key, self.who);
        }
    }

    /// Starts the capture.
    pub fn begin(&mut self) -> Result<Begun, SessionError> {
        const STEP: &str = "beginning the capture";
        match self.take() {
            Stage::Attached(s) => {
                let begun = self.after(STEP, s.begin(self.key.generation))?;
                self.left = begun.left_to_driver();
                Ok(begun)
            }
            other => Err(self.out_of_turn(STEP, other)),
        }
    }

    /// One round while the program runs, into the image and through `sink`.
    pub fn round(
        &mut self,
        number: u32,
        sink: &CaptureSink<'_>,
    ) -> Result<RoundDone, SessionError> {
        const STEP: &str = "pre-copy";
        let sink = sink.sink(self.key, &mut self.image);
        let done = match &mut self.stage {
            Stage::Copying(copying) => copying.round(number, &sink).map_err(Problem::Step),
            _ => Err(Problem::Lost),
        };
        if let Err(Problem::Step(e)) = &done
            && e.ends_the_link()
            && let Stage::Copying(copying) = self.take()
        {
            // No command is answered there any more: the program goes on by the end of its link.
            self.close_link(copying.into_link());
        }
        let done = done.map_err(|problem| self.error(STEP, problem))?;
        // One that has come to CUDA since it began has a context at least.
        let has_any = done.left > 0 || done.pinned > 0;
        self.left = LeftToDriver {
            contexts: self.left.contexts.max(has_any.into()),
            bytes: done.left,
            pinned: done.pinned,
        };
        Ok(done)
    }

    /// Stops the program's GPU calls and takes the rest.
    pub fn stop(
        &mut self,
        timeout: Duration,
        sink: &CaptureSink<'_>,
    ) -> Result<Stopped, SessionError> {
        const STEP: &str = "stop-and-copy";
        match self.take() {
            Stage::Copying(s) => {
                let sink = sink.sink(self.key, &mut self.image);
                let stopped = s.stop(timeout, &sink);
                self.was_at_rest = stopped.is_ok() || sink.has_come();
                self.after(STEP, stopped)
            }
            other => Err(self.out_of_turn(STEP, other)),
        }
    }

    /// Whether it knows [`OpenSession::reopen`].
    pub fn can_reopen(&self) -> bool {
        let spoken = self.peer.announcement().choose_protocol(channel::PROTOCOL);
        spoken >= Some(REOPENS)
    }

    /// Lets a stopped program go on, and the capture with it; nothing where it has not stopped. Before the next stop comes a round.
    pub fn reopen(&mut self) -> Result<(), SessionError> {
        const STEP: &str = "going on";
        match self.take() {
            Stage::Quiesced(s) => self.after(STEP, s.reopen()).map(drop),
            other => {
                self.stage = other;
                Ok(())
            }
        }
    }

    /// Compares the image with its manifest.
    pub fn check(&self) -> Result<(), SessionError> {
        check_manifest(&self.key, &self.image).map_err(|e| self.error("checking the image", e))
    }

    /// Has the driver unloaded. From here on the image is all there is of the GPU state.
    pub fn unload(&mut self) -> Result<Unloaded, SessionError> {
        const STEP: &str = "unloading the driver";
        match self.take() {
            Stage::Quiesced(s) => {
                self.given_up = true;
                let unloaded = s.unload();
                if let Err(refused) = &unloaded {
                    self.given_up = refused.session.is_none();
                }
                self.after(STEP, unloaded)
            }
            other => Err(self.out_of_turn(STEP, other)),
        }
    }

    /// Lets the program go on, from whatever state it is in; nanoseconds its calls had to wait.
    pub fn resume(&mut self) -> Result<u64, SessionError> {
        const STEP: &str = "resuming";
        match self.take() {
            Stage::Attached(s) => {
                self.stage = Stage::Attached(s);
                Ok(0)
            }
            Stage::Copying(s) => self.after(STEP, s.resume().map(|attached| (0, attached))),
            Stage::Quiesced(s) => self.after(STEP, s.resume()),
            Stage::Detached(s) => {
                let source = ImageSource::new(&self.image, &|| ());
                let restored = s.restore(self.key.generation, &source, &mut |_| ());
                self.given_up = restored.is_err();
                self.after(STEP, restored).map(|r| r.blackout_ns)
            }
            // The guest goes on by itself when its link ends, unless it had given its state up.
            Stage::Closed => Ok(0),
        }
    }

    fn out_of_turn(&mut self, step: &'static str, stage: Stage) -> SessionError {
        self.stage = stage;
        self.error(step, Problem::Lost)
    }

    /// Unmaps and has the guest end its side. A session that is only being copied goes on by itself.
    pub fn close(&mut self) -> Result<(), SessionError> {
        let link = match self.take() {
            Stage::Attached(s) => s.into_link(),
            Stage::Copying(s) => s.into_link(),
            Stage::Quiesced(s) => s.into_link(),
            Stage::Detached(s) => s.into_link(),
            Stage::Closed => return Ok(()),
        };
        self.peer
            .close(link, CLOSE_PATIENCE)
            .map_err(|e| self.error("closing", Problem::Silent(e)))
    }

    /// Back to the program, whatever has happened so far; then closed. The image is of use to
    /// somebody else only if [`OpenSession::given_up`] is still set.
    pub fn undo(&mut self) {
        if let Err(e) = self.resume() {
            log::error!("{e}");
        }
        if let Err(e) = self.close() {
            log::warn!("{e}");
        }
    }
}
