//! What `xl-gpu status` shows.

use super::carrier::{Nonsense, Sessions};
use super::daemon::Daemon;
use super::domain_lock::{Busy, LockPatience};
use channel::image::SessionId;
use channel::link::{LeftToDriver, Residence};
use protocol::history::History;
use protocol::status::{DomainStatus, SessionStatus, Status, Usage};
use protocol::text;
use std::io;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// How long those who wait for a session may take to notice that it is forgotten.
const FORGET_PATIENCE: Duration = Duration::from_secs(5);

/// Collects it.
pub fn status(daemon: &Daemon) -> io::Result<Status> {
    let domains = daemon.carrier.domains()?;
    let mut shown = Vec::new();
    for domain in domains {
        let status = domain_status(daemon, domain.domid, domain.name);
        if !status.sessions.is_empty() || !status.images.is_empty() || status.report.is_some() {
            shown.push(status);
        }
    }
    let memory = daemon.images.spool().memory();
    Ok(Status {
        version: version::VERSION.to_owned(),
        carrier: daemon.carrier.name().to_owned(),
        spool_memory: Usage {
            used: memory.used(),
            limit: memory.limit(),
        },
        domains: shown,
    })
}

fn domain_status(daemon: &Daemon, domid: u32, name: String) -> DomainStatus {
    // One domain's trouble is shown as such, beside the others.
    let found = daemon.carrier.sessions(domid).unwrap_or_else(|e| Sessions {
        announced: Vec::new(),
        nonsense: vec![Nonsense {
            node: "?".into(),
            reason: text::clean(&format!("its sessions cannot be read: {e}")),
        }],
        ended: Vec::new(),
    });
    if !found.ended.is_empty() {
        // Nothing fires when a process is killed.
        daemon.server.look(domid);
    }
    let images = daemon.images.list(domid);
    let mut sessions: Vec<SessionStatus> = found
        .announced
        .into_iter()
        .map(|a| {
            let has_image = images
                .iter()
                .any(|i| i.key.session == a.session && i.key.generation == a.generation);
            let lost = a.state != Residence::Attached && !has_image;
            SessionStatus {
                session: a.session.to_string(),
                pid: a.pid,
                program: a.program,
                state: a.state.to_string(),
                generation: a.generation,
                blocked: a.blocked,
                left_to_driver: a.left,
                problem: lost.then(|| {
                    "it waits for an image that is not here; the daemon of the host it came from may have it"
                        .to_owned()
                }),
            }
        })
        .collect();
    sessions.extend(found.nonsense.into_iter().map(|odd| SessionStatus {
        problem: Some(match odd.node.parse::<SessionId>() {
            Ok(id) => format!(
                "{}; if nobody needs it: xl-gpu forget {domid} {id}",
                odd.reason
            ),
            Err(_) => odd.reason,
        }),
        session: odd.node,
        pid: 0,
        program: String::new(),
        state: String::new(),
        generation: 0,
        blocked: None,
        left_to_driver: LeftToDriver::default(),
    }));
    DomainStatus {
        domid,
        name,
        published: daemon.publisher.last_of(domid),
        busy: daemon.locks.what(domid).map(str::to_owned),
        progress: daemon.moving.progress(domid),
        sessions,
        images,
        report: daemon.reports.get(domid),
    }
}

/// The last migrations, of one domain where one is named. The number of a domain that is here stands for its name.
pub fn history(daemon: &Daemon, domain: Option<&str>) -> io::Result<History> {
    let histories = daemon.reports.histories();
    let number = domain.and_then(|wanted| wanted.parse::<u32>().ok());
    let Some(domid) = number else {
        return Ok(histories.of(domain));
    };
    let mut domains = daemon.carrier.domains()?.into_iter();
    let found = domains.find(|d| d.domid == domid);
    Ok(histories.of(found.as_ref().map(|d| &*d.name).or(domain)))
}

/// What a dead process left could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    #[error(transparent)]
    Nodes(#[from] io::Error),
    #[error("its nodes are removed, its images are not: {0}")]
    Images(#[source] Busy),
}

/// Removes a dead process' nodes and images; how many images that were.
pub fn forget(daemon: &Daemon, domid: u32, session: SessionId) -> Result<usize, ForgetError> {
    // First: somebody may hold the domain only because they wait for this session to answer.
    daemon.carrier.forget(domid, session)?;
    let deadline = Instant::now() + FORGET_PATIENCE;
    let never = AtomicBool::new(false);
    let lock = loop {
        let what = "forgetting a session";
        match daemon.locks.alone(domid, what, LockPatience::NONE, &never) {
            Ok(lock) => break lock,
            Err(busy) if Instant::now() >= deadline => {
                return Err(ForgetError::Images(busy));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let keys = daemon.images.keys(domid, |key, _| key.session == session);
    for key in &keys {
        daemon.images.drop_image(domid, *key);
    }
    drop(lock);
    log::info!(
        "domain {domid}: session {session} is forgotten, {} images dropped",
        keys.len()
    );
    Ok(keys.len())
}
