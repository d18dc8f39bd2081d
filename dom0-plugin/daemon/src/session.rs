//! One session that dom0 has open: the state it is in, the image it fills, and the way back.

use super::capture_sink::CaptureSink;
use super::passthrough::error::DeviceError;
use channel::guest::{Begun, Opened, Restored, RoundDone, Stopped, Unloaded};
use channel::host::{
    Attached, Contents, Copying, Detached, HostError, HostTimeouts, Quiesced, Refused, Source,
    StepLimits,
};
use channel::image::{MANIFEST_OBJECT, SessionKey};
use channel::link::{Link, Others, Peer};
use channel::memory::SharedBytes;
use spool::{Image, SpoolError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

type L = Box<dyn Link>;

/// How long a guest may take to end its side of a link.
const CLOSE_PATIENCE: Duration = Duration::from_secs(20);

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

/// An open session.
pub struct OpenSession {
    peer: Box<dyn Peer>,
    key: SessionKey,
    who: String,
    stage: Stage,
    /// Pages it shares.
    pub pages: usize,
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

    /// After a refused step: the state it left, or a closed link.
    fn refused<S>(
        &mut self,
        step: &'static str,
        refused: Refused<S, L>,
        back: impl FnOnce(S) -> Stage,
    ) -> SessionError {
        if let Some(session) = refused.session {
            self.stage = back(session);
        } else if let Some(link) = refused.link {
            self.close_link(link);
        }
        self.error(step, refused.error)
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
            Stage::Attached(s) => match s.begin(self.key.generation) {
                Ok((begun, copying)) => {
                    self.stage = Stage::Copying(copying);
                    Ok(begun)
                }
                Err(refused) => Err(self.refused(STEP, refused, Stage::Attached)),
            },
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
        done.map_err(|problem| self.error(STEP, problem))
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
                let stopped = s.stop(timeout, &sink.sink(self.key, &mut self.image));
                match stopped {
                    Ok((stop, quiesced)) => {
                        self.stage = Stage::Quiesced(quiesced);
                        Ok(stop)
                    }
                    Err(refused) => Err(self.refused(STEP, refused, Stage::Copying)),
                }
            }
            other => Err(self.out_of_turn(STEP, other)),
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
                match s.unload() {
                    Ok((unload, detached)) => {
                        self.stage = Stage::Detached(detached);
                        Ok(unload)
                    }
                    Err(refused) => {
                        self.given_up = refused.session.is_none();
                        Err(self.refused(STEP, refused, Stage::Quiesced))
                    }
                }
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
            Stage::Copying(s) => match s.resume() {
                Ok(attached) => {
                    self.stage = Stage::Attached(attached);
                    Ok(0)
                }
                Err(refused) => Err(self.refused(STEP, refused, Stage::Copying)),
            },
            Stage::Quiesced(s) => match s.resume() {
                Ok((blackout_ns, attached)) => {
                    self.stage = Stage::Attached(attached);
                    Ok(blackout_ns)
                }
                Err(refused) => Err(self.refused(STEP, refused, Stage::Quiesced)),
            },
            Stage::Detached(s) => {
                let source = FromImage::new(&self.image, &|| ());
                let restored = s.restore(self.key.generation, &source, &mut |_| ());
                match restored {
                    Ok((restored, attached)) => {
                        self.given_up = false;
                        self.stage = Stage::Attached(attached);
                        Ok(restored.blackout_ns)
                    }
                    Err(refused) => Err(self.refused(STEP, refused, Stage::Detached)),
                }
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

/// Compares an image with its manifest, where it has one.
pub fn check_manifest(key: &SessionKey, image: &Image) -> Result<(), SpoolError> {
    match image.manifest(key.generation) {
        Ok(_) | Err(SpoolError::NoObject(MANIFEST_OBJECT)) => Ok(()),
        Err(e) => Err(e),
    }
}

/// What happens while a session is served.
pub struct Serving<'a> {
    /// It is open: the domain runs then, and has to have its devices before the session's driver is loaded.
    pub ready: &'a mut dyn FnMut() -> Result<(), DeviceError>,
    /// The program runs again; contents arrive from now on.
    pub opened: &'a mut dyn FnMut(Opened),
    /// Some more contents have gone to the guest, which it cannot all have had before.
    pub progress: &'a (dyn Fn() + Sync),
}

/// A session that announced itself detached or arriving: opened, served from `image` until all of it has arrived,
/// closed.
pub fn restore(
    mut peer: Box<dyn Peer>,
    key: SessionKey,
    image: &Image,
    limits: StepLimits,
    patience: Duration,
    serving: Serving<'_>,
) -> Result<Restored, SessionError> {
    let who = who(&*peer);
    let error = |step, problem| SessionError {
        key,
        who: who.clone(),
        step,
        problem: Box::new(problem),
    };
    let (link, layout) = peer
        .open(patience)
        .map_err(|e| error("opening", Problem::Silent(e)))?;
    let detached = Detached::new(link, layout, limits, HostTimeouts::default());
    let source = FromImage::new(image, serving.progress);
    let (restored, link) = match (serving.ready)() {
        Err(e) => (
            Err(error("attaching", Problem::Device(e))),
            Some(detached.into_link()),
        ),
        Ok(()) => match detached.restore(key.generation, &source, serving.opened) {
            Ok((restored, attached)) => (Ok(restored), Some(attached.into_link())),
            Err(Refused {
                session,
                link,
                error: e,
            }) => (
                Err(error("restoring", Problem::Step(e))),
                session.map(Detached::into_link).or(link),
            ),
        },
    };
    if let Some(link) = link
        && let Err(e) = peer.close(link, CLOSE_PATIENCE)
    {
        log::warn!("session {key} ({who}): closing: {e}");
    }
    restored
}

/// Serves fetches from an image.
struct FromImage<'a> {
    image: &'a Image,
    progress: &'a (dyn Fn() + Sync),
    fetched: AtomicU64,
}

impl<'a> FromImage<'a> {
    fn new(image: &'a Image, progress: &'a (dyn Fn() + Sync)) -> Self {
        FromImage {
            image,
            progress,
            fetched: AtomicU64::new(0),
        }
    }
}

impl Source for FromImage<'_> {
    fn read(
        &self,
        object: u64,
        offset: u64,
        to: SharedBytes<'_>,
    ) -> Result<Contents, channel::BoxError> {
        let contents = self.image.fill(object, offset, to);
        let before = self.fetched.fetch_add(to.len() as u64, Ordering::Relaxed);
        // A guest that fetches the same again and again does not move on by it.
        if before < self.image.totals().bytes {
            (self.progress)();
        }
        Ok(contents?)
    }
}
