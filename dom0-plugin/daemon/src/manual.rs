//! Requests of the administrator: `checkpoint`, `detach` and `attach`, for all sessions of a domain.

use super::Daemon;
use super::capture::{Capture, CaptureError, in_parallel};
use super::claim::Claim;
use super::migrate::{ANNOUNCE_PATIENCE, silent};
use super::steering;
use super::tee::{Counts, Tee};
use super::{doctor, serve};
use channel::image::SessionKey;
use channel::link::{Announcement, Peer, Residence};
use protocol::control::{Order, Outcome, Request};
use protocol::status::Purpose;
use protocol::text;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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
        Some(order) => steering::order(daemon, domid, order),
        None => Err(format!(
            "unknown request `{}`: expected checkpoint, detach, attach, hold, release, force or abort",
            text::clean(text)
        )),
    };
    if let Err(reason) = done {
        log::warn!("domain {domid}: {reason}");
        let state = daemon.told(domid).state;
        daemon.tell(domid, &state, Some(&reason));
    }
}

/// Does `request` and says how it went, in the log, in XenStore and to the caller.
pub fn run(
    daemon: &Arc<Daemon>,
    domid: u32,
    request: Request,
    cancelled: &AtomicBool,
) -> Result<Outcome, String> {
    let before = daemon.told(domid).state;
    let claim = match daemon.alone(domid, request.doing(), cancelled) {
        Ok(claim) => claim,
        Err(busy) => {
            // What is going on there tells its own state.
            daemon.tell(domid, &before, Some(&busy.to_string()));
            return Err(busy.to_string());
        }
    };
    daemon.tell(domid, request.doing(), None);
    let result = alone(daemon, domid, request, cancelled, claim);
    match &result {
        Ok(outcome) => {
            log::info!(
                "domain {domid}: {}: {} sessions, {} bytes",
                request.done(),
                outcome.sessions,
                outcome.bytes
            );
            daemon.tell(domid, request.done(), None);
        }
        Err(reason) => {
            log::error!("domain {domid}: {}: {reason}", request.doing());
            daemon.tell(domid, "failed", Some(reason));
        }
    }
    serve::look(daemon, domid);
    result
}

fn alone(
    daemon: &Arc<Daemon>,
    domid: u32,
    request: Request,
    cancelled: &AtomicBool,
    claim: Claim,
) -> Result<Outcome, String> {
    let sessions = daemon
        .carrier
        .sessions(domid)
        .map_err(|e| format!("the sessions of domain {domid} cannot be read: {e}"))?;
    if sessions.announced.is_empty() {
        return Err(format!(
            "domain {domid} has no GPU session; is the program started with the shadow library?"
        ));
    }
    let outcome = match request {
        Request::Attach => attach(daemon, domid, &sessions.announced, &claim),
        Request::Detach => detach(daemon, domid, &sessions.announced, cancelled),
        Request::Checkpoint => checkpoint(daemon, domid, &sessions.announced, cancelled),
    };
    drop(claim);
    outcome
}

/// Peers of the attached sessions; an error where one cannot be captured.
pub fn peers_to_capture(
    daemon: &Daemon,
    domid: u32,
    announced: &[Announcement],
) -> Result<Vec<Box<dyn Peer>>, String> {
    if let Some(a) = announced.iter().find(|a| a.state == Residence::PostCopy) {
        return Err(format!(
            "session {} ({}, pid {}) still waits for contents of image {}: it cannot be captured before they have arrived; if that image is not here, end the program",
            a.session, a.program, a.pid, a.generation
        ));
    }
    let mut peers = Vec::new();
    for a in announced.iter().filter(|a| a.state == Residence::Attached) {
        if let Some(finding) = doctor::cannot_be_captured(a) {
            return Err(finding.to_string());
        }
        let peer = daemon.carrier.peer(domid, a.session);
        peers.push(peer.map_err(|e| format!("{}: {e}", doctor::who(a)))?);
    }
    Ok(peers)
}

fn detach(
    daemon: &Daemon,
    domid: u32,
    announced: &[Announcement],
    cancelled: &AtomicBool,
) -> Result<Outcome, String> {
    let peers = peers_to_capture(daemon, domid, announced)?;
    if peers.is_empty() {
        return Ok(Outcome::default());
    }
    let (mut capture, mut outcome) = copy_and_stop(daemon, domid, peers, cancelled)?;
    let given_up = daemon
        .identity(domid)
        .map_err(CaptureError::from)
        .and_then(|identity| capture.save(&daemon.images, identity.as_deref(), Purpose::Held))
        .and_then(|()| capture.unload().map_err(CaptureError::from))
        .and_then(|_| capture.close().map_err(CaptureError::from));
    if let Err(e) = given_up {
        capture.undo(&daemon.images);
        return Err(e.to_string());
    }
    let keys = capture.keys();
    outcome.sessions = keys.len();
    capture
        .keep(&daemon.images, Purpose::Held)
        .map_err(|e| e.to_string())?;
    let carrier = &daemon.carrier;
    match keys.iter().find(|key| {
        !carrier.await_state(domid, key.session, Residence::Detached, ANNOUNCE_PATIENCE)
    }) {
        Some(key) => Err(silent(key)),
        None => Ok(outcome),
    }
}

fn checkpoint(
    daemon: &Daemon,
    domid: u32,
    announced: &[Announcement],
    cancelled: &AtomicBool,
) -> Result<Outcome, String> {
    let peers = peers_to_capture(daemon, domid, announced)?;
    if peers.is_empty() {
        return Err(format!(
            "all sessions of domain {domid} are detached: they are in the spool already"
        ));
    }
    let (mut capture, mut outcome) = copy_and_stop(daemon, domid, peers, cancelled)?;
    match capture.resume() {
        Ok(waited) => outcome.blackout_ns = waited,
        Err(e) => {
            capture.undo(&daemon.images);
            return Err(e.to_string());
        }
    }
    let keys = capture.keys();
    outcome.sessions = keys.len();
    let earlier = daemon.images.keys(domid, |old, purpose| {
        purpose == Purpose::Checkpoint && keys.iter().any(|key| key.session == old.session)
    });
    let identity = daemon.identity(domid).map_err(|e| e.to_string())?;
    capture
        .save(&daemon.images, identity.as_deref(), Purpose::Checkpoint)
        .map_err(|e| e.to_string())?;
    capture
        .keep(&daemon.images, Purpose::Checkpoint)
        .map_err(|e| e.to_string())?;
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
) -> Result<(Capture, Outcome), String> {
    let settings = &daemon.settings;
    let (mut capture, _) = Capture::open(
        domid,
        peers,
        &daemon.images,
        settings.limits,
        settings.open_patience,
    )
    .map_err(|e| e.to_string())?;
    let tee = Tee {
        records: None,
        cancelled,
        sent: &Counts::default(),
        sessions: capture.count(),
    };
    let copied = capture.round(0, &tee).and_then(|round| {
        let stop = capture.stop(settings.drain_timeout, &tee)?;
        Ok(round.bytes.saturating_add(stop.bytes))
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
            capture.undo(&daemon.images);
            Err(e.to_string())
        }
    }
}

fn attach(
    daemon: &Daemon,
    domid: u32,
    announced: &[Announcement],
    claim: &Claim,
) -> Result<Outcome, String> {
    let detached: Vec<SessionKey> = announced
        .iter()
        .filter(|a| a.state != Residence::Attached)
        .map(|a| SessionKey {
            session: a.session,
            generation: a.generation,
        })
        .collect();
    // The programs run for most of it: who comes meanwhile waits.
    let taken = serve::take_and_share(daemon, domid, &detached, claim);
    let patience = daemon.settings.open_patience;
    let served = in_parallel(taken, |(key, image)| {
        let image = image.ok_or_else(|| format!("no image {key} is kept here"))?;
        serve::one(daemon, domid, key, image, patience, &|| claim.moved_on())?
            .ok_or_else(|| format!("session {key} is no longer there"))
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
