//! Giving images back: whoever resumes the guest serves it.

use super::Daemon;
use super::claim::Claim;
use super::costs::Seen;
use super::images::Due;
use super::migrate::ANNOUNCE_PATIENCE;
use super::passthrough;
use super::session::{self, Serving};
use channel::guest::{Opened, Restored};
use channel::image::{SessionId, SessionKey};
use channel::link::{Announcement, Residence};
use protocol::report::{Report, Role};
use protocol::status::Purpose;
use spool::Image;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// From the first sight of a killed process to the end of its images.
const UNTIL_BURIED: Duration = Duration::from_secs(2);

/// How long a guest that is suspended may take to come back, where it comes back at all.
const UNTIL_RESUMED: Duration = Duration::from_secs(365 * 24 * 3600);

/// Looks at a domain's sessions: those that wait for an image of ours get it. Does nothing while somebody
/// has the domain alone; whoever had calls it again.
pub fn look(daemon: &Arc<Daemon>, domid: u32) {
    let Some(claim) = daemon.claims.serving(domid) else {
        return;
    };
    let sessions = match daemon.carrier.sessions(domid) {
        Ok(sessions) => sessions,
        Err(e) => return log::warn!("domain {domid}: its sessions cannot be read: {e}"),
    };
    daemon.complaints().retain(|(of, key)| {
        let still = |a: &Announcement| a.session == key.session && a.state != Residence::Attached;
        *of != domid || sessions.announced.iter().any(still)
    });
    let known =
        |id| sessions.announced.iter().any(|a| a.session == id) || sessions.ended.contains(&id);
    let orphans = daemon.images.keys(domid, |key, purpose| {
        purpose == Purpose::Checkpoint && !known(key.session)
    });
    for key in orphans {
        log::info!("domain {domid}: session {key} has ended; its checkpoint is dropped");
        daemon.images.drop_image(domid, key);
    }
    bury(daemon, domid, &sessions.ended);
    for a in sessions.announced {
        let key = SessionKey {
            session: a.session,
            generation: a.generation,
        };
        match a.state {
            Residence::Attached => forget_unneeded(daemon, domid, key),
            waits => match daemon.images.due(domid, &key, waits == Residence::PostCopy) {
                Some(Due::Now) => {
                    if let Some(claim) = daemon.claims.serving(domid)
                        && let Some(image) = daemon.images.take(domid, key)
                    {
                        let patience = daemon.settings.open_patience;
                        in_background(daemon, domid, key, image, patience, claim);
                    }
                }
                Some(Due::In(delay)) => again_after(daemon, domid, key, delay),
                Some(Due::NotNow) => {}
                None => complain(daemon, domid, key),
            },
        }
    }
    drop(claim);
}

/// Removes what processes that were killed left, their nodes and images that nobody will ask for, if it is still so some time after
/// it was first seen: an image cannot be had again.
fn bury(daemon: &Arc<Daemon>, domid: u32, ended: &[SessionId]) {
    let is_new = |id: &&SessionId| daemon.ended().insert((domid, **id));
    let new: Vec<SessionId> = ended.iter().filter(is_new).copied().collect();
    if new.is_empty() {
        return;
    }
    for session in &new {
        log::info!("domain {domid}: session {session}: its process was killed");
    }
    let (daemon, forget) = (daemon.clone(), daemon.clone());
    let sessions = new.clone();
    let started = std::thread::Builder::new()
        .name("burial".into())
        .spawn(move || {
            std::thread::sleep(UNTIL_BURIED);
            let now = daemon.carrier.sessions(domid);
            let still = now.map_or_else(|_| Vec::new(), |now| now.ended);
            for session in sessions {
                if still.contains(&session) {
                    remove(&daemon, domid, session);
                }
                daemon.ended().remove(&(domid, session));
            }
        });
    if let Err(e) = started {
        log::warn!("domain {domid}: what killed processes left stays for now: {e}");
        new.iter().for_each(|session| {
            forget.ended().remove(&(domid, *session));
        });
    }
}

fn remove(daemon: &Daemon, domid: u32, session: SessionId) {
    if let Err(e) = daemon.carrier.forget(domid, session) {
        log::warn!("domain {domid}: session {session}: {e}");
    }
    for key in daemon.images.keys(domid, |key, _| key.session == session) {
        daemon.images.drop_image(domid, key);
    }
}

/// Says once that a session waits for nothing: what is written there comes back as an event.
fn complain(daemon: &Daemon, domid: u32, key: SessionKey) {
    if !daemon.complaints().insert((domid, key)) {
        return;
    }
    let reason = format!(
        "no image {key} is kept here; was the domain restored or migrated without xl-gpud?"
    );
    log::error!("domain {domid}: session {}: {reason}", key.session);
    daemon.carrier.tell_session(domid, key.session, &reason);
}

/// Has an image that could not be served tried again.
fn again_after(daemon: &Arc<Daemon>, domid: u32, key: SessionKey, delay: Duration) {
    let daemon = daemon.clone();
    std::thread::spawn(move || {
        std::thread::sleep(delay);
        daemon.images.try_again(domid, &key);
        look(&daemon, domid);
    });
}

/// A session that runs with image `key` behind it, or a later one, has no use for it any more.
fn forget_unneeded(daemon: &Daemon, domid: u32, running: SessionKey) {
    let stale = daemon.images.keys(domid, |key, purpose| {
        key.session == running.session
            && key.generation <= running.generation
            && purpose != Purpose::Checkpoint
    });
    for key in stale {
        // One that is being served is on its way out anyway.
        if let Some(image) = daemon.images.take(domid, key) {
            drop(image);
            daemon.images.served(domid, key);
            log::info!("domain {domid}: session {key} runs; its image is dropped");
        }
    }
}

/// Serves `keys` in the background as soon as their sessions can be opened, however long that takes: the guest
/// may be suspended. The claim becomes a shared one.
pub fn when_resumed(daemon: &Arc<Daemon>, domid: u32, keys: &[SessionKey], claim: &Claim) {
    for (key, image) in take_and_share(daemon, domid, keys, claim) {
        match (daemon.claims.serving(domid), image) {
            (Some(claim), Some(image)) => {
                in_background(daemon, domid, key, image, UNTIL_RESUMED, claim);
            }
            (None, Some(image)) => daemon.images.put_back(domid, key, image, false),
            (_, None) => {}
        }
    }
}

/// Takes the images of `keys`, then shares the domain. In the other order a look could take one in between: its caller
/// would believe it served, or missing.
pub fn take_and_share(
    daemon: &Daemon,
    domid: u32,
    keys: &[SessionKey],
    claim: &Claim,
) -> Vec<(SessionKey, Option<Image>)> {
    let take = |key: &SessionKey| (*key, daemon.images.take(domid, *key));
    let taken = keys.iter().map(take).collect();
    claim.share();
    taken
}

fn in_background(
    daemon: &Arc<Daemon>,
    domid: u32,
    key: SessionKey,
    image: Image,
    patience: Duration,
    claim: Claim,
) {
    let daemon = daemon.clone();
    std::thread::spawn(move || {
        let served = one(&daemon, domid, key, image, patience, &|| claim.moved_on());
        drop(claim);
        match served {
            Ok(Some(_)) => daemon.tell(domid, "attached", None),
            // The session has gone: looking again would find the same.
            Ok(None) => return,
            Err(e) => daemon.tell(domid, "failed", Some(&e)),
        }
        look(&daemon, domid);
    });
}

/// Serves an image that was taken until all of it has arrived; `None` where its session has gone with its domain.
/// `moved_on` is called now and then while contents go to the guest.
pub fn one(
    daemon: &Daemon,
    domid: u32,
    key: SessionKey,
    image: Image,
    patience: Duration,
    moved_on: &(dyn Fn() + Sync),
) -> Result<Option<Restored>, String> {
    let started = Instant::now();
    let gone = || {
        log::info!("domain {domid}: session {key} is no longer there");
        Ok(None)
    };
    let peer = match daemon.carrier.peer(domid, key.session) {
        Ok(peer) => peer,
        Err(e) => {
            let is_gone = e.kind() == std::io::ErrorKind::NotFound;
            daemon.images.put_back(domid, key, image, !is_gone);
            return match is_gone {
                true => gone(),
                false => Err(format!("session {key}: {e}")),
            };
        }
    };
    // One that is suspended may be waited for a long time, and one that arrives has run meanwhile.
    let tells = patience < UNTIL_RESUMED && peer.announcement().state == Residence::Detached;
    let connect = Cell::new(None);
    let limits = daemon.settings.limits;
    let serving = Serving {
        ready: &mut |waited| {
            connect.set(tells.then_some(waited));
            daemon.reports.resumed(domid);
            passthrough::bring_back(daemon, domid)
        },
        opened: &mut |opened| {
            log::info!(
                "domain {domid}: session {key} runs again; its calls had waited {:?}",
                Duration::from_nanos(opened.blackout_ns)
            );
            let report = daemon.reports.opened(domid, &key, &opened, connect.get());
            if tells {
                learn(daemon, &key, &opened, report.as_ref(), started.elapsed());
            }
        },
        progress: moved_on,
    };
    let result = session::restore(peer, key, &image, limits, patience, serving);
    match result {
        Ok(restored) => {
            let_go(image);
            // Until it says itself that it is attached, it looks as if it waited for an image.
            daemon.complaints().insert((domid, key));
            daemon.images.served(domid, key);
            log::info!(
                "domain {domid}: session {key} is attached: {} bytes in {:?}",
                restored.bytes,
                started.elapsed()
            );
            daemon.reports.arrived(domid, &key, started.elapsed());
            // Whoever comes next goes by what it says.
            let carrier = &daemon.carrier;
            if !carrier.await_state(domid, key.session, Residence::Attached, ANNOUNCE_PATIENCE) {
                log::warn!("domain {domid}: session {key} does not say that it is attached");
            }
            Ok(Some(restored))
        }
        Err(e) if e.is_gone() => {
            daemon.images.put_back(domid, key, image, false);
            gone()
        }
        Err(e) => {
            log::error!("domain {domid}: {e}");
            daemon.images.put_back(domid, key, image, true);
            let reason = e.to_string();
            daemon.carrier.tell_session(domid, key.session, &reason);
            Err(reason)
        }
    }
}

/// Frees an image's memory, which takes a second for 10 GB, while the guest goes on. Its share of the spool is free at once.
fn let_go(image: Image) {
    // Where no thread can be had, it is dropped right here.
    let _ = std::thread::Builder::new()
        .name("let-go".into())
        .spawn(move || drop(image));
}

/// What the next arrival will cost: what this one did. Where the stop was here, too, the rest of the program's own
/// figure is what happened since the VCPUs ran again. Elsewhere it is what passed here until the program ran, as far as its
/// calls waited. `took`: dom0's own measure of that.
fn learn(
    daemon: &Daemon,
    key: &SessionKey,
    opened: &Opened,
    report: Option<&Report>,
    took: Duration,
) {
    let paused = Duration::from_nanos(opened.downtime_ns);
    let stop = report
        .filter(|report| report.role == Role::Rehearsal)
        .and_then(|report| report.stop_s)
        .and_then(|s| Duration::try_from_secs_f64(s).ok());
    let blackout = Duration::from_nanos(opened.blackout_ns);
    let arrive = match stop {
        Some(stop) => blackout.saturating_sub(stop.saturating_add(paused)),
        None => took.min(blackout.saturating_sub(paused)),
    };
    // A pause within this daemon's sight was no longer than that. One that began elsewhere is the guest's word.
    let paused = match stop {
        Some(stop) => paused.min(stop.saturating_add(took)),
        None => paused,
    };
    let seen = Seen {
        paused: Some(paused),
        arrive: Some(arrive),
        ..Seen::default()
    };
    daemon.experience.learn([(key.session, 0)], seen);
}
