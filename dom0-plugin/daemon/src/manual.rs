//! Requests of the administrator: `checkpoint`, `detach` and `attach`, for all sessions of a domain.

use super::capture::{Capture, CaptureError};
use super::capture_sink::{CaptureSink, Counts};
use super::carrier::{Unannounced, Unreadable, image_of};
use super::daemon::Daemon;
use super::domain_lock::{Busy, DomainLock};
use super::laps::Laps;
use super::parallel::in_parallel;
use super::peers::{NotCapturable, peers_to_capture};
use super::serve::image_server::ServeError;
use super::steering::OrderError;
use super::stopping::stop_together;
use channel::image::SessionKey;
use channel::link::{Announcement, Peer, Residence};
use protocol::control::{Order, Outcome, Request};
use protocol::status::{PublishedState, Purpose};
use protocol::text;
use spool::SpoolError;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A request could not be done, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("domain {0} has no GPU session; is the program started with the shadow library?")]
    NoSession(u32),
    #[error("all sessions of domain {0} are detached: they are in the spool already")]
    AllDetached(u32),
    #[error(transparent)]
    NotCapturable(#[from] NotCapturable),
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Unannounced(#[from] Unannounced),
    #[error("no image {0} is kept here")]
    NoImage(SessionKey),
    #[error("session {0} is no longer there")]
    Gone(SessionKey),
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// The administrator's node holds what cannot be done.
#[derive(Debug, thiserror::Error)]
enum NodeError {
    #[error(
        "unknown request `{}`: expected checkpoint, detach, attach, hold, release, force or abort",
        text::clean(.0)
    )]
    Unknown(String),
    #[error(transparent)]
    Order(#[from] OrderError),
}

/// A request that came as a node's value: done, acknowledged, reported.
pub fn from_store(daemon: &Arc<Daemon>, domid: u32, text: &str) {
    // Acknowledged first: what is written after this is the next request.
    daemon.carrier.acknowledge(domid);
    if let Some(request) = Request::parse(text) {
        // The outcome stands in `state` and `error`.
        let _ = run(daemon, domid, request, &AtomicBool::new(false));
        return;
    }
    let done = match Order::parse(text) {
        Some(order) => daemon.moving.order(domid, order).map_err(NodeError::from),
        None => Err(NodeError::Unknown(text.to_owned())),
    };
    if let Err(e) = done {
        log::warn!("domain {domid}: {e}");
        daemon.publisher.refused(domid, &e);
    }
}

/// Does `request` and says how it went, in the log, in XenStore and to the caller.
pub fn run(
    daemon: &Arc<Daemon>,
    domid: u32,
    request: Request,
    cancelled: &AtomicBool,
) -> Result<Outcome, RequestError> {
    let doing = PublishedState::doing(request);
    let lock = daemon
        .alone(domid, doing.as_str(), cancelled)
        // What is going on there tells its own state.
        .inspect_err(|busy| daemon.publisher.refused(domid, busy))?;
    daemon.publisher.tell(domid, doing);
    let result = alone(daemon, domid, request, cancelled, lock);
    match &result {
        Ok(outcome) => {
            let done = PublishedState::done(request);
            log::info!(
                "domain {domid}: {done}: {} sessions, {} bytes",
                outcome.sessions,
                outcome.bytes
            );
            daemon.publisher.tell(domid, done);
        }
        Err(e) => {
            log::error!("domain {domid}: {doing}: {e}");
            daemon.publisher.failed(domid, e);
        }
    }
    daemon.server.look(domid);
    result
}

fn alone(
    daemon: &Daemon,
    domid: u32,
    request: Request,
    cancelled: &AtomicBool,
    lock: DomainLock,
) -> Result<Outcome, RequestError> {
    let announced = daemon.carrier.sessions_of(domid)?.announced;
    if announced.is_empty() {
        return Err(RequestError::NoSession(domid));
    }
    match request {
        Request::Attach => attach(daemon, domid, &announced, &lock),
        Request::Detach => detach(daemon, domid, &announced, cancelled),
        Request::Checkpoint => checkpoint(daemon, domid, &announced, cancelled),
    }
}

fn detach(
    daemon: &Daemon,
    domid: u32,
    announced: &[Announcement],
    cancelled: &AtomicBool,
) -> Result<Outcome, RequestError> {
    let peers = peers_to_capture(&*daemon.carrier, domid, announced)?;
    if peers.is_empty() {
        return Ok(Outcome::default());
    }
    let identity = daemon.identity(domid)?;
    let (capture, mut outcome) = copy_and_stop(daemon, domid, peers, cancelled)?;
    let (purpose, laps) = (Purpose::Held, &mut Laps::start());
    let keys = capture.release(&daemon.images, identity.as_deref(), purpose, false, laps)?;
    outcome.sessions = keys.len();
    let patience = daemon.settings.open_patience;
    daemon.carrier.await_detached(domid, &keys, patience)?;
    Ok(outcome)
}

fn checkpoint(
    daemon: &Daemon,
    domid: u32,
    announced: &[Announcement],
    cancelled: &AtomicBool,
) -> Result<Outcome, RequestError> {
    let peers = peers_to_capture(&*daemon.carrier, domid, announced)?;
    if peers.is_empty() {
        return Err(RequestError::AllDetached(domid));
    }
    let identity = daemon.identity(domid)?;
    let (mut capture, mut outcome) = copy_and_stop(daemon, domid, peers, cancelled)?;
    match capture.resume() {
        Ok(waited) => outcome.blackout_ns = waited,
        Err(e) => {
            capture.undo(&daemon.images);
            return Err(CaptureError::from(e).into());
        }
    }
    let keys = capture.keys();
    outcome.sessions = keys.len();
    let earlier = daemon.images.keys(domid, |old, purpose| {
        purpose == Purpose::Checkpoint && keys.iter().any(|key| key.session == old.session)
    });
    capture.save(&daemon.images, identity.as_deref(), Purpose::Checkpoint)?;
    capture.keep(&daemon.images, Purpose::Checkpoint)?;
    for key in earlier {
        daemon.images.drop_image(domid, key);
    }
    Ok(outcome)
}

/// A full round while the programs run, then the rest with the programs stopped.
fn copy_and_stop(
    daemon: &Daemon,
    domid: u32,
    peers: Vec<Box<dyn Peer>>,
    cancelled: &AtomicBool,
) -> Result<(Capture, Outcome), CaptureError> {
    let settings = &daemon.settings;
    let (images, limits) = (&*daemon.images, settings.limits);
    let (mut capture, _) = Capture::open(domid, peers, images, limits, settings.open_patience)?;
    let sink = CaptureSink {
        records: None,
        cancelled,
        sent: &Counts::default(),
        sessions: capture.count(),
    };
    let copied = capture
        .round(0, &sink)
        .map_err(CaptureError::from)
        .and_then(|round| {
            let at_rest =
                stop_together(&mut capture, &sink, settings.drain_timeout, 1, round.dirty)?;
            Ok(round.bytes.saturating_add(at_rest.sums.bytes))
        });
    match copied {
        Ok(bytes) => Ok((
            capture,
            Outcome {
                bytes,
                ..Outcome::default()
            },
        )),
        Err(e) => {
            capture.undo(images);
            Err(e)
        }
    }
}

fn attach(
    daemon: &Daemon,
    domid: u32,
    announced: &[Announcement],
    lock: &DomainLock,
) -> Result<Outcome, RequestError> {
    let away = announced.iter().filter(|a| a.state != Residence::Attached);
    let detached: Vec<SessionKey> = away.map(image_of).collect();
    // The programs run for most of it: who comes meanwhile waits.
    let taken = daemon.server.take_and_share(domid, &detached, lock);
    let patience = daemon.settings.open_patience;
    let served = in_parallel(taken, |(key, image)| {
        let image = image.ok_or(RequestError::NoImage(key))?;
        let moved_on = || lock.moved_on();
        let served = daemon
            .server
            .one
            .serve(domid, key, image, patience, &moved_on)?;
        served.ok_or(RequestError::Gone(key))
    });
    let mut outcome = Outcome::default();
    let mut failure = None;
    for result in served {
        match result {
            Ok(restored) => {
                outcome.sessions += 1;
                outcome.bytes += restored.bytes;
                outcome.blackout_ns = outcome.blackout_ns.max(restored.blackout_ns);
            }
            Err(e) => failure = failure.or(Some(e)),
        }
    }
    failure.map_or(Ok(outcome), Err)
}
