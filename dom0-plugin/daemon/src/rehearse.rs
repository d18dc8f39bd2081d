//! A whole migration within this daemon: real rounds, real records through a pipe, a second set of images, and the
//! restore from that. No Xen is needed for it.

use super::daemon::Daemon;
use super::domain_lock::DomainLock;
use super::images::Images;
use super::laps::Laps;
use super::migrate::aborted::Aborted;
use super::migrate::error::MigrationError;
use super::migrate::preflight::PreFlight;
use super::migrate::stopped::Stopped;
use super::parallel::in_parallel;
use super::receive::error::ReceiveError;
use super::receive::receiving::{Received, Receiving};
use super::serve::image_server::ServeError;
use channel::image::{SessionId, SessionKey};
use protocol::helper::Next;
use protocol::report::{Report, Role};
use protocol::status::{PublishedState, Purpose};
use spool::{Image, SpoolError};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use stream::libxc::END;
use stream::{RecordHeader, StreamEnd};

/// Bytes of the pipe that stands for the wire: what Linux lets anybody have.
const PIPE: usize = 1 << 20;

/// A rehearsal failed; the programs go on.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    #[error("domain {0} has no such GPU session")]
    NoSession(u32),
    #[error("no pipe: {0}")]
    Pipe(#[source] io::Error),
    #[error(transparent)]
    Migration(#[from] MigrationError),
    #[error("the end of the stream: {0}")]
    End(#[source] io::Error),
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    #[error(transparent)]
    Replace(#[from] SpoolError),
    #[error(transparent)]
    Serve(#[from] ServeError),
}

type Arrived = (BTreeMap<SessionKey, Image>, Report);

/// Moves the domain's sessions (or one) out and in again.
pub fn run(
    daemon: &Arc<Daemon>,
    domid: u32,
    only: Option<SessionId>,
    cancelled: &Arc<AtomicBool>,
) -> Result<Report, RehearsalError> {
    let started = Instant::now();
    let (reader, writer) = io::pipe().map_err(RehearsalError::Pipe)?;
    // Fewer switches between the two ends; a smaller pipe does as well.
    let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE);
    let elsewhere = Images::new(daemon.images.spool().clone());
    let max_object = daemon.settings.limits.batch.max_object_bytes;
    let (stopped, arrived) = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let receiving = Receiving::new(&elsewhere, domid, max_object, &|_| Ok(()));
            receive(receiving, reader.into(), cancelled)
        });
        let sent = send(daemon, domid, only, writer.into(), cancelled);
        let arrived = receiver
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let stopped = sent?;
        match arrived {
            Ok(arrived) => Ok((stopped, arrived)),
            Err(e) => {
                stopped.end(Some(&e));
                Err(RehearsalError::from(e))
            }
        }
    })?;
    swap(daemon, domid, stopped.rehearsed(), arrived, started)
}

/// The source's half, up to the detached sessions and the end of the stream.
fn send<'d>(
    daemon: &'d Arc<Daemon>,
    domid: u32,
    only: Option<SessionId>,
    writer: OwnedFd,
    cancelled: &Arc<AtomicBool>,
) -> Result<Stopped<'d>, RehearsalError> {
    let role = Role::Rehearsal;
    let pre_flight = PreFlight::begin(daemon, domid, only, role, writer, cancelled)?
        .ok_or(RehearsalError::NoSession(domid))?;
    let mut pre_copying = pre_flight.head().map_err(Aborted::end)?;
    loop {
        let (next, round) = pre_copying.round(None).map_err(Aborted::end)?;
        pre_copying = next;
        if matches!(round.next, Next::Stop | Next::Force) {
            break;
        }
    }
    let (stopped, mut stream) = pre_copying.stop().map_err(Aborted::end)?;
    let end = RecordHeader {
        record_type: END,
        length: 0,
    };
    match stream.write_all(&end.to_bytes()) {
        Ok(()) => Ok(stopped),
        Err(e) => {
            let e = RehearsalError::End(e);
            stopped.end(Some(&e));
            Err(e)
        }
    }
}

/// The destination's half.
fn receive(
    mut receiving: Receiving<'_>,
    reader: OwnedFd,
    cancelled: &Arc<AtomicBool>,
) -> Result<Arrived, ReceiveError> {
    let mut stream = StreamEnd::new(reader, cancelled.clone()).map_err(ReceiveError::Descriptor)?;
    let mut header = receiving.first_header(&mut stream)?;
    loop {
        match receiving.records(&mut stream, header)? {
            (Received::All(sealed), _) => return sealed.finish(),
            (Received::Part(part), next) => (receiving, header) = (part, next),
        }
    }
}

/// What arrived takes the place of what was sent, and is served. Where it cannot be kept, what was sent is served: the
/// programs go on in any case.
fn swap(
    daemon: &Arc<Daemon>,
    domid: u32,
    (report, laps, lock): (Report, Laps, DomainLock),
    (arrived, received): Arrived,
    started: Instant,
) -> Result<Report, RehearsalError> {
    if report.gpu_bytes != received.gpu_bytes {
        log::info!(
            "domain {domid}: {:?} were captured, {:?} were sent",
            report.gpu_bytes,
            received.gpu_bytes
        );
    }
    let keys: Vec<SessionKey> = arrived.keys().copied().collect();
    let replaced = replace(daemon, domid, arrived);
    if let Err(e) = &replaced {
        log::error!("domain {domid}: what arrived is not used: {e}");
    }
    daemon.reports.put(report.clone(), Some(laps));
    // The programs run for most of it: who comes meanwhile waits.
    let taken = daemon.server.take_and_share(domid, &keys, &lock);
    let patience = daemon.settings.open_patience;
    let served = in_parallel(taken, |(key, image)| match image {
        Some(image) => {
            let moved_on = || lock.moved_on();
            daemon
                .server
                .one
                .serve(domid, key, image, patience, &moved_on)
        }
        None => Ok(None),
    });
    drop(lock);
    let served = served.into_iter().find_map(Result::err);
    let failure = match replaced {
        Err(e) => Some(RehearsalError::from(e)),
        Ok(()) => served.map(RehearsalError::from),
    };
    let mut report = daemon.reports.get(domid).unwrap_or(report);
    report.total_s = Some(started.elapsed().as_secs_f64());
    report.ok = Some(failure.is_none());
    report.error = failure.as_ref().map(ToString::to_string);
    daemon.reports.put(report.clone(), None);
    match &failure {
        None => daemon.publisher.tell(domid, PublishedState::Attached),
        Some(e) => daemon.publisher.failed(domid, e),
    }
    daemon.server.look(domid);
    failure.map_or(Ok(report), Err)
}

/// Keeps the images that arrived instead of those that were sent; the first error, where not all could be.
fn replace(
    daemon: &Daemon,
    domid: u32,
    arrived: BTreeMap<SessionKey, Image>,
) -> Result<(), SpoolError> {
    let identity = daemon.identity(domid)?;
    let mut done = Ok(());
    for (key, image) in arrived {
        let replaced = daemon
            .images
            .replace(domid, identity.clone(), key, image, Purpose::Serve);
        done = done.and(replaced.map(|sent| {
            // Freeing it takes time that no program should wait for.
            std::thread::spawn(move || drop(sent));
        }));
    }
    done
}
