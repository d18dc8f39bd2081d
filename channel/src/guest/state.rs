//! The states of a session, and what each command makes of them.

use super::batch_sender::BatchSender;
use super::conversation::Conversation;
use super::fetcher::Fetcher;
use super::interrupt::Interrupt;
use super::keep_alive::KeepAlive;
use super::workload::{StepError, Workload};
use crate::answers::Opened;
use crate::link::{Announcement, Residence};
use crate::message::{STOP_ROUND, ToGuest, ToHost};
use std::time::Duration;

pub(super) enum State<W: Workload> {
    Running,
    Copying(W::Copying),
    /// With the time-out of the `Stop` that led here.
    Quiesced(W::Quiesced, Duration),
    Detached(W::Detached),
    /// With what it told when its gate opened.
    PostCopy(W::PostCopy, Opened),
}

impl<W: Workload> State<W> {
    fn name(&self) -> &'static str {
        match self {
            State::Running => "running",
            State::Copying(_) => "being copied",
            State::Quiesced(..) => "quiesced",
            State::Detached(_) => "detached",
            State::PostCopy(..) => "arriving",
        }
    }

    /// Where that leaves the GPU state, as it is announced.
    pub(super) fn residence(&self) -> Residence {
        match self {
            State::Detached(_) => Residence::Detached,
            State::PostCopy(..) => Residence::PostCopy,
            _ => Residence::Attached,
        }
    }
}

/// Obeys one command: the state changes as it says, and dom0 has its answer.
pub(super) fn obey<W: Workload>(
    state: &mut State<W>,
    workload: &mut W,
    announcement: &mut Announcement,
    mut conversation: Conversation<'_>,
    command: ToGuest,
) -> Result<(), Interrupt> {
    let before = state.name();
    let (next, answer) = match (command, std::mem::replace(state, State::Running)) {
        (ToGuest::Begin { generation: new }, State::Running) => {
            match workload.begin(&mut KeepAlive::new(conversation.reborrow())) {
                Ok((begun, copying)) => {
                    announcement.generation = new;
                    (State::Copying(copying), Ok(begun.into()))
                }
                Err(e) => (State::Running, Err(e)),
            }
        }
        (ToGuest::Round { number }, State::Copying(mut copying))
            if number < u64::from(STOP_ROUND) =>
        {
            let n = number as u32;
            let mut out = BatchSender::new(conversation.reborrow(), n);
            let result = workload.round(&mut copying, n, &mut out);
            let answer = result.map(|r| ToHost::RoundDone {
                number,
                bytes: r.bytes,
                dirty: r.dirty,
                whole: r.whole,
                why: r.why.into(),
                left: r.left,
                pinned: r.pinned,
            });
            (State::Copying(copying), answer)
        }
        (ToGuest::Stop { timeout_ms }, State::Copying(copying)) => {
            let timeout = Duration::from_millis(timeout_ms);
            let mut out = BatchSender::new(conversation.reborrow(), STOP_ROUND);
            match workload.stop(copying, timeout, announcement.generation, &mut out) {
                Ok((stop, quiesced)) => (State::Quiesced(quiesced, timeout), Ok(stop.into())),
                Err((copying, e)) => (State::Copying(copying), Err(e)),
            }
        }
        (ToGuest::Unload {}, State::Quiesced(quiesced, timeout)) => {
            match workload.unload(quiesced) {
                Ok((unload, detached)) => (State::Detached(detached), Ok(unload.into())),
                Err((quiesced, e)) => (State::Quiesced(quiesced, timeout), Err(e)),
            }
        }
        (ToGuest::Resume {}, State::Running) => (State::Running, Ok(resumed(0))),
        (ToGuest::Resume {}, State::Copying(copying)) => {
            workload.give_up(copying);
            (State::Running, Ok(resumed(0)))
        }
        (ToGuest::Resume {}, State::Quiesced(quiesced, _)) => {
            (State::Running, Ok(resumed(workload.reopen(quiesced))))
        }
        (ToGuest::Reopen {}, State::Quiesced(quiesced, _)) => {
            let (blackout_ns, copying) = workload.go_on(quiesced);
            (
                State::Copying(copying),
                Ok(ToHost::Reopened { blackout_ns }),
            )
        }
        (ToGuest::Restore { generation: wanted }, State::Detached(detached))
            if wanted == announcement.generation =>
        {
            match workload.restore(detached) {
                Ok((opened, arriving)) => {
                    post_copy(workload, announcement, &mut conversation, arriving, opened)
                }
                Err((detached, e)) => (State::Detached(detached), Err(e)),
            }
        }
        (ToGuest::Restore { generation: wanted }, State::PostCopy(arriving, opened))
            if wanted == announcement.generation =>
        {
            post_copy(workload, announcement, &mut conversation, arriving, opened)
        }
        (command, other) => {
            let state = before;
            (other, Err(StepError::Misplaced { command, state }))
        }
    };
    *state = next;
    match answer {
        Ok(message) => conversation.send(message),
        Err(StepError::Interrupted(e)) if !matches!(e, Interrupt::Unserved { .. }) => Err(e),
        Err(e) => conversation.fail(&e.to_string()),
    }
}

/// The gate is open: says so, to dom0 and to whoever looks, and fetches.
fn post_copy<W: Workload>(
    workload: &mut W,
    announcement: &mut Announcement,
    conversation: &mut Conversation<'_>,
    arriving: W::PostCopy,
    opened: Opened,
) -> (State<W>, Result<ToHost, StepError>) {
    announcement.state = Residence::PostCopy;
    announcement.blocked = workload.blocked();
    announcement.left = workload.left_to_driver();
    let told = conversation.send(opened.into()).and_then(|()| {
        let told = conversation.rendezvous.announce(announcement);
        told.map_err(Interrupt::from)
    });
    if let Err(e) = told {
        return (State::PostCopy(arriving, opened), Err(e.into()));
    }
    match workload.post_copy(arriving, &mut Fetcher::new(conversation.reborrow())) {
        Ok(arrived) => (State::Running, Ok(arrived.into())),
        Err((arriving, e)) => (State::PostCopy(arriving, opened), Err(e)),
    }
}

fn resumed(blackout_ns: u64) -> ToHost {
    ToHost::Resumed { blackout_ns }
}
