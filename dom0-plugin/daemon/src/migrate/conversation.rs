//! What the helper asks, and the phase in which it may.

use super::aborted::Aborted;
use super::error::MigrationError;
use super::outgoing::Outgoing;
use super::precopying::PreCopying;
use super::preflight::PreFlight;
use super::stopped::Stopped;
use super::suspended::Suspended;
use crate::conversation::Conversation;
use crate::daemon::Daemon;
use protocol::conversation::Reply;
use protocol::helper::Request;
use protocol::report::Role;
use serde_json::{Value, json};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Where a migration is.
enum Phase<'d> {
    PreFlight(PreFlight<'d>),
    PreCopying(PreCopying<'d>),
    Stopped(Stopped<'d>),
    Suspended(Suspended<'d>),
    Aborted(Box<Aborted<'d>>),
}

/// A request that does not fit the phase. It changes nothing.
#[derive(Debug, thiserror::Error)]
#[error("{request:?} does not belong here: the migration is {phase}")]
struct OutOfTurn {
    request: Request,
    phase: &'static str,
}

fn refused(aborted: Box<Aborted<'_>>) -> (Phase<'_>, Reply<Value>) {
    let reason = aborted.error.to_string();
    (Phase::Aborted(aborted), Reply::Error(reason))
}

/// Speaks with the helper until the save is over.
pub fn converse(daemon: &Arc<Daemon>, talk: &mut Conversation, domid: u32, fd: Option<OwnedFd>) {
    let cancelled = Arc::new(AtomicBool::new(false));
    let Some(fd) = fd else {
        return talk.refuse(&"`save` came without the stream's descriptor");
    };
    let begun = talk.work(&cancelled, || {
        PreFlight::begin(daemon, domid, None, Role::Source, fd, &cancelled)
    });
    let mut phase = match begun {
        Ok(Some(pre_flight)) => {
            talk.answer(json!({
                "sessions": pre_flight.out.report.sessions.len(),
                "devices": pre_flight.out.devices,
                "ram": daemon.settings.ram,
            }));
            Phase::PreFlight(pre_flight)
        }
        Ok(None) => return talk.answer(json!({ "sessions": 0 })),
        Err(e) => {
            log::error!("domain {domid}: {e}");
            return talk.refuse(&e);
        }
    };
    loop {
        match talk.request::<Request>() {
            Ok(Some(Request::Done { rc, ram })) => {
                if let Some(figures) = ram {
                    phase.out().ram(figures);
                }
                phase.end((rc != 0).then_some(MigrationError::SaveFailed));
                return talk.answer(json!({}));
            }
            Ok(Some(request)) => {
                let reply;
                (phase, reply) = talk.work(&cancelled, || phase.take(request));
                talk.reply(&reply);
            }
            Ok(None) => return phase.end(Some(MigrationError::HelperGone)),
            Err(e) => {
                talk.refuse(&e);
                return phase.end(Some(MigrationError::Talk(e)));
            }
        }
    }
}

impl<'d> Phase<'d> {
    /// Does what the helper asks, if this is the phase for it: the next phase, and the answer.
    fn take(self, request: Request) -> (Self, Reply<Value>) {
        let head_first = matches!(
            request,
            Request::Head | Request::Precopy { .. } | Request::Stop
        );
        let phase = match self {
            Phase::PreFlight(p) if head_first => match p.head() {
                Ok(p) => Phase::PreCopying(p),
                Err(aborted) => return refused(aborted),
            },
            phase => phase,
        };
        let done = match (phase, request) {
            (Phase::PreCopying(p), Request::Head) => Ok((Phase::PreCopying(p), json!({}))),
            (Phase::PreCopying(p), Request::Precopy { dirty_pages, .. }) => p
                .round(dirty_pages.try_into().ok())
                .map(|(p, round)| (Phase::PreCopying(p), json!(round))),
            (Phase::PreCopying(p), Request::Stop) => p.stop().map(|(stopped, _stream)| {
                // The stream is the helper's: here it is closed, so that its receiver sees where it ends.
                let sent = json!(stopped.out.report.gpu_bytes);
                (Phase::Stopped(stopped), sent)
            }),
            (Phase::Stopped(s), Request::Precopy { .. }) => s
                .memory_round()
                .map(|(s, round)| (Phase::Stopped(s), json!(round))),
            (Phase::Stopped(s), Request::Suspended { ok, took_ns }) => {
                let suspended = match ok {
                    true => s.suspended(Duration::from_nanos(took_ns)),
                    false => s.not_suspended(),
                };
                let refused = suspended.taken_back.as_ref().map(ToString::to_string);
                let reply = refused.map_or(Reply::Ok(json!({})), Reply::Error);
                return (Phase::Suspended(suspended), reply);
            }
            (mut phase, Request::Ram(figures)) => {
                phase.out().ram(figures);
                Ok((phase, json!({})))
            }
            (phase, request) => {
                let error = OutOfTurn {
                    request,
                    phase: phase.name(),
                };
                return (phase, Reply::Error(error.to_string()));
            }
        };
        match done {
            Ok((phase, answer)) => (phase, Reply::Ok(answer)),
            Err(aborted) => refused(aborted),
        }
    }

    /// The helper has said its last word; `failed` says why the save was for nothing.
    fn end(self, failed: Option<MigrationError>) {
        match self {
            Phase::PreFlight(p) => drop(p.abort(failed.unwrap_or(MigrationError::Unsent)).end()),
            Phase::PreCopying(p) => drop(p.abort(failed.unwrap_or(MigrationError::Unsent)).end()),
            Phase::Stopped(s) => s.end(failed),
            Phase::Suspended(s) => s.end(failed),
            Phase::Aborted(a) => drop(a.end()),
        }
    }

    fn out(&mut self) -> &mut Outgoing<'d> {
        match self {
            Phase::PreFlight(p) => &mut p.out,
            Phase::PreCopying(p) => &mut p.out,
            Phase::Stopped(s) => &mut s.out,
            Phase::Suspended(s) => &mut s.out,
            Phase::Aborted(a) => &mut a.out,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Phase::PreFlight(_) => "in its pre-flight",
            Phase::PreCopying(_) => "pre-copying",
            Phase::Stopped(_) => "stopped",
            Phase::Suspended(_) => "suspended",
            Phase::Aborted(_) => "aborted",
        }
    }
}
