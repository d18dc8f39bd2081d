//! A whole migration within this daemon: real rounds, real records through a pipe, a second set of images, and the
//! restore from that. No Xen is needed for it.

use super::Daemon;
use super::capture::in_parallel;
use super::images::Images;
use super::migrate::Migration;
use super::receive::Receiving;
use super::serve;
use channel::image::{SessionId, SessionKey};
use protocol::helper::Next;
use protocol::report::{Report, Role};
use protocol::status::Purpose;
use spool::{Image, SpoolError};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use stream::libxc::END;
use stream::{RecordHeader, StreamEnd};

/// Bytes of the pipe that stands for the wire: what Linux lets anybody have.
const PIPE: usize = 1 << 20;

type Arrived = (BTreeMap<SessionKey, Image>, Report);

/// Moves the domain's sessions (or one) out and in again.
pub fn run(
    daemon: &Arc<Daemon>,
    domid: u32,
    only: Option<SessionId>,
    cancelled: &Arc<AtomicBool>,
) -> Result<Report, String> {
    let started = Instant::now();
    let (reader, writer) = std::io::pipe().map_err(|e| format!("no pipe: {e}"))?;
    // Fewer switches between the two ends; a smaller pipe does as well.
    let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE);
    let elsewhere = Images::new(daemon.images.spool().clone());
    let max_object = daemon.settings.limits.batch.max_object_bytes;
    let moved = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            receive(
                Receiving::new(&elsewhere, domid, max_object),
                reader.into(),
                cancelled,
            )
        });
        let sent = send(daemon, domid, only, writer.into(), cancelled);
        let arrived = receiver
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (sent, arrived) {
            (Ok(migration), Ok(arrived)) => Ok((migration, arrived)),
            (Err(e), _) => Err(e),
            (Ok(migration), Err(e)) => {
                migration.end(Some(&e));
                Err(e)
            }
        }
    });
    let (migration, arrived) = moved?;
    swap(daemon, domid, migration, arrived, started)
}

/// The source's half, up to the detached sessions and the end of the stream.
fn send<'d>(
    daemon: &'d Arc<Daemon>,
    domid: u32,
    only: Option<SessionId>,
    writer: OwnedFd,
    cancelled: &Arc<AtomicBool>,
) -> Result<Migration<'d>, String> {
    let mut migration = Migration::begin(daemon, domid, only, Role::Rehearsal, writer, cancelled)?
        .ok_or_else(|| format!("domain {domid} has no such GPU session"))?;
    let sent = loop {
        match migration.precopy(None).map(|round| round.next) {
            Ok(Next::Stop | Next::Force) => break migration.stop(),
            Ok(Next::Round | Next::Hold) => {}
            Err(e) => break Err(e),
        }
    };
    let ended = sent.and_then(|()| {
        let mut stream = migration.take_stream().ok_or("the stream was not sealed")?;
        let end = RecordHeader {
            record_type: END,
            length: 0,
        };
        stream
            .write_all(&end.to_bytes())
            .map_err(|e| format!("the end of the stream: {e}"))
    });
    match ended {
        Ok(()) => Ok(migration),
        Err(e) => {
            migration.end(Some(&e));
            Err(e)
        }
    }
}

/// The destination's half.
fn receive(
    mut receiving: Receiving<'_>,
    reader: OwnedFd,
    cancelled: &Arc<AtomicBool>,
) -> Result<Arrived, String> {
    let mut stream = StreamEnd::new(reader, cancelled.clone()).map_err(|e| e.to_string())?;
    let mut header = receiving.first_header(&mut stream)?;
    while header.record_type != END {
        header = receiving.records(&mut stream, header)?;
    }
    receiving.finish()
}

/// What arrived takes the place of what was sent, and is served. Where it cannot be kept, what was sent is served: the
/// programs go on in any case.
fn swap(
    daemon: &Arc<Daemon>,
    domid: u32,
    migration: Migration<'_>,
    (arrived, received): Arrived,
    started: Instant,
) -> Result<Report, String> {
    let (report, claim) = migration.into_rehearsal();
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
    daemon.reports.put(report.clone());
    // The programs run for most of it: who comes meanwhile waits.
    let taken = serve::take_and_share(daemon, domid, &keys, &claim);
    let patience = daemon.settings.open_patience;
    let served = in_parallel(taken, |(key, image)| match image {
        Some(image) => serve::one(daemon, domid, key, image, patience, &|| claim.moved_on()),
        None => Ok(None),
    });
    drop(claim);
    let failure = replaced.err().map(|e| e.to_string());
    let failure = failure.or(served.into_iter().find_map(Result::err));
    let mut report = daemon.reports.get(domid).unwrap_or(report);
    report.total_s = Some(started.elapsed().as_secs_f64());
    report.ok = Some(failure.is_none());
    report.error = failure.clone();
    daemon.reports.put(report.clone());
    let state = if failure.is_none() {
        "attached"
    } else {
        "failed"
    };
    daemon.tell(domid, state, failure.as_deref());
    serve::look(daemon, domid);
    match failure {
        None => Ok(report),
        Some(e) => Err(e),
    }
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
