//! The daemon's socket: one JSON object a line, one thread a connection.

use super::conversation::Conversation;
use super::daemon::Daemon;
use super::doctor::examination;
use super::{idle, manual, migrate, receive, rehearse, status, steering};
use protocol::control::{Control, Forgotten};
use protocol::conversation::Caller;
use protocol::helper::Request;
use serde_json::{Value, json};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Most connections at a time.
const MAX_CONNECTIONS: usize = 64;
/// The pause after a connection that could not be taken.
const TICK: Duration = Duration::from_millis(100);

/// Makes the socket; only root (and the daemon's own user) may connect.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent()
        && !folder.exists()
    {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("another xl-gpud listens at {}", path.display()),
        ));
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves connections for ever.
pub fn serve(daemon: &Arc<Daemon>, listener: &UnixListener) {
    let connections = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let stream = match stream.and_then(allowed) {
            Ok(stream) => stream,
            Err(e) => {
                log::warn!("a connection was not taken: {e}");
                // What is short (descriptors, say) will be for a while.
                std::thread::sleep(TICK);
                continue;
            }
        };
        let counted = Counted::new(&connections);
        let daemon = daemon.clone();
        let thread = std::thread::Builder::new().spawn(move || {
            let mut talk = Conversation::new(stream);
            if counted.0.load(Ordering::Relaxed) > MAX_CONNECTIONS {
                return talk.refuse(&"too many connections; try again");
            }
            converse(&daemon, &mut talk);
        });
        if let Err(e) = thread {
            log::error!("a connection was closed, no thread can be had for it: {e}");
            std::thread::sleep(TICK);
        }
    }
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The file's mode keeps others out; this holds where a folder of another mode was named.
fn allowed(stream: UnixStream) -> io::Result<UnixStream> {
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    if peer.uid.is_root() || peer.uid == rustix::process::geteuid() {
        return Ok(stream);
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("user {} may not speak with xl-gpud", peer.uid.as_raw()),
    ))
}

fn converse(daemon: &Arc<Daemon>, talk: &mut Conversation) {
    let mut versions_agree = false;
    loop {
        let line = match talk.line() {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(e) => return talk.refuse(&e),
        };
        // The plugin's requests and the CLI's share the field `op`, and no value of it.
        let helper = serde_json::from_slice::<Request>(&line);
        if !versions_agree {
            let caller = match helper.is_ok() {
                true => Caller::Helper,
                false => Caller::CommandLine,
            };
            if let Err(mismatch) = talk.compare_versions(caller, &line) {
                log::warn!("a conversation is refused: {mismatch}");
                return talk.refuse(&mismatch);
            }
            versions_agree = true;
        }
        if let Ok(request) = helper {
            let fd = talk.descriptor.take();
            return match request {
                Request::Save { domid, .. } => {
                    migrate::conversation::converse(daemon, talk, domid, fd)
                }
                Request::Restore { domid } => {
                    receive::conversation::converse(daemon, talk, domid, fd)
                }
                other => talk.refuse(&format!("{other:?} without `save` or `restore` before it")),
            };
        }
        match serde_json::from_slice::<Control>(&line) {
            Ok(control) => match obey(daemon, talk, control) {
                Ok(value) => talk.answer(value),
                Err(reason) => talk.refuse(&reason),
            },
            Err(e) => talk.refuse(&format!("no request of xl-gpud's: {e}")),
        }
    }
}

/// A request of the command line could not be done.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the domains cannot be read: {0}")]
    Domains(#[source] io::Error),
    #[error("what is kept for guests cannot be read: {0}")]
    Idle(#[source] io::Error),
    #[error("there is no report of domain {0}")]
    NoReport(u32),
    #[error("there is no report of domain `{0}`")]
    NoReportOf(String),
    #[error(transparent)]
    Request(#[from] manual::RequestError),
    #[error(transparent)]
    Order(#[from] steering::OrderError),
    #[error(transparent)]
    Examine(#[from] examination::ExamineError),
    #[error(transparent)]
    Forget(#[from] status::ForgetError),
    #[error(transparent)]
    Rehearsal(#[from] rehearse::RehearsalError),
}

fn obey(daemon: &Arc<Daemon>, talk: &Conversation, control: Control) -> Result<Value, Refusal> {
    let cancelled = Arc::new(AtomicBool::new(false));
    Ok(match control {
        Control::Status => json!(status::status(daemon).map_err(Refusal::Domains)?),
        Control::Request { domid, request } => json!(talk.work(&cancelled, || {
            manual::run(daemon, domid, request, &cancelled)
        })?),
        Control::Steer { domid, order } => {
            daemon.moving.order(domid, order)?;
            json!({})
        }
        Control::Report { domid } => {
            let report = daemon.reports.get(domid);
            json!(report.ok_or(Refusal::NoReport(domid))?)
        }
        Control::ReportOf { domain } => {
            let report = daemon.reports.of(&domain);
            json!(report.ok_or(Refusal::NoReportOf(domain))?)
        }
        Control::History { domain } => {
            json!(status::history(daemon, domain.as_deref()).map_err(Refusal::Domains)?)
        }
        Control::Doctor {
            domain,
            save_helper,
        } => json!(talk.work(&cancelled, || {
            examination::examine(daemon, &domain, save_helper)
        })?),
        Control::Idle => json!(idle::idleness(daemon).map_err(Refusal::Idle)?),
        Control::Forget { domid, session } => {
            let images = status::forget(daemon, domid, session)?;
            json!(Forgotten { images })
        }
        Control::MigrateLoopback { domid, session } => json!(talk.work(&cancelled, || {
            rehearse::run(daemon, domid, session, &cancelled)
        })?),
    })
}
