//! What the helper asks, and the phase in which it may.

use super::error::ReceiveError;
use super::receiving::{Received, Receiving};
use super::sealed::Sealed;
use crate::conversation::Conversation;
use crate::daemon::Daemon;
use crate::notice::{Notice, OtherChip};
use protocol::helper::{HandedBack, Request};
use protocol::report::Role;
use serde_json::json;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use stream::StreamEnd;
use stream::libxc::END;
use stream::{RecordHeader, is_gpu_type};

/// Where a restore is.
enum Phase<'d> {
    Receiving(Receiving<'d>),
    Sealed(Sealed),
    /// Refused: nothing of it will be kept.
    Broken,
}

/// Speaks with the helper until the restore is over.
pub fn converse(daemon: &Arc<Daemon>, talk: &mut Conversation, domid: u32, fd: Option<OwnedFd>) {
    let Some(fd) = fd else {
        return talk.refuse(&"`restore` came without the stream's descriptor");
    };
    let cancelled = Arc::new(AtomicBool::new(false));
    let locked = talk.work(&cancelled, || daemon.alone(domid, "a restore", &cancelled));
    let lock = match locked {
        Ok(lock) => lock,
        Err(busy) => return talk.refuse(&busy),
    };
    let mut stream = match StreamEnd::new(fd, cancelled.clone()) {
        Ok(stream) => stream,
        Err(e) => return talk.refuse(&ReceiveError::Descriptor(e)),
    };
    let max_object = daemon.settings.limits.batch.max_object_bytes;
    let warning = Mutex::new(None);
    let host = |notice: &Notice| -> Result<(), OtherChip> {
        if let Some(other) = notice.check(&daemon.devices.gpus())? {
            log::warn!("domain {domid}: {other}");
            let mut warning = warning.lock().unwrap_or_else(PoisonError::into_inner);
            *warning = Some(other.to_string());
        }
        Ok(())
    };
    let receiving = Receiving::new(&daemon.images, domid, max_object, &host);
    let mut phase = Phase::Receiving(receiving);
    let mut begun = Some((daemon.report(Role::Destination, domid), Instant::now()));
    // What is told after the first failure follows from it.
    let mut lost = |reason: &dyn ToString| {
        let Some((mut report, since)) = begun.take() else {
            return;
        };
        report.total_s = Some(since.elapsed().as_secs_f64());
        daemon.reports.lost(report, reason);
    };
    talk.answer(json!({}));
    let kept = loop {
        match talk.request::<Request>() {
            Ok(Some(Request::Records(header))) => {
                match talk.work(&cancelled, || phase.records(&mut stream, header)) {
                    Ok((next_phase, header)) => {
                        phase = next_phase;
                        let mut warning = warning.lock().unwrap_or_else(PoisonError::into_inner);
                        let warning = warning.take();
                        talk.answer(json!(HandedBack { header, warning }));
                    }
                    Err(e) => {
                        lost(&e);
                        phase = Phase::Broken;
                        log::error!("domain {domid}: {e}");
                        talk.refuse(&e);
                    }
                }
            }
            Ok(Some(Request::Done { rc: 0, .. })) => match phase.keep(daemon) {
                Ok(()) => {
                    talk.answer(json!({}));
                    break true;
                }
                Err(e) => {
                    log::error!("domain {domid}: {e}");
                    lost(&e);
                    talk.refuse(&e);
                    break false;
                }
            },
            Ok(Some(Request::Done { rc, .. })) => {
                log::warn!("domain {domid}: the restore failed ({rc}); its images are dropped");
                lost(&"the restore failed; the toolstack's log says why");
                talk.answer(json!({}));
                break false;
            }
            Ok(Some(other)) => talk.refuse(&format!("{other:?} does not belong here")),
            Ok(None) => {
                log::warn!("domain {domid}: the restore was aborted; its images are dropped");
                lost(&"the restore was aborted");
                break false;
            }
            Err(e) => {
                talk.refuse(&e);
                break false;
            }
        }
    };
    drop(lock);
    if kept {
        daemon.server.look(domid);
    }
}

impl Phase<'_> {
    /// Takes records; the next phase, and the first header that is not ours.
    fn records(
        self,
        stream: &mut StreamEnd,
        header: RecordHeader,
    ) -> Result<(Self, RecordHeader), ReceiveError> {
        match self {
            Phase::Receiving(receiving) => {
                let (received, next) = receiving.records(stream, header)?;
                let phase = match received {
                    Received::Part(receiving) => Phase::Receiving(receiving),
                    Received::All(sealed) => Phase::Sealed(sealed),
                };
                Ok((phase, next))
            }
            Phase::Sealed(_) if is_gpu_type(header.record_type) => Err(ReceiveError::AfterSeal),
            Phase::Broken if header.record_type == END => Err(ReceiveError::Unsealed),
            Phase::Broken => Err(ReceiveError::Incomplete),
            sealed => Ok((sealed, header)),
        }
    }

    fn keep(self, daemon: &Daemon) -> Result<(), ReceiveError> {
        match self {
            Phase::Sealed(sealed) => sealed.keep(daemon),
            _ => Err(ReceiveError::Incomplete),
        }
    }
}
