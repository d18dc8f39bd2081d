//! A session: from request to request, from command to command.

use super::boxes::{Inbox, Outbox, Pulse};
use super::interrupt::Interrupt;
use super::traffic::{Line, Traffic};
use super::{Opened, Patience, StepError, Workload};
use crate::PAGE_SIZE;
use crate::layout::{Layout, MAX_PAGES, MIN_PAGES};
use crate::link::{Announcement, GuestLink, Rendezvous, Request, Residence, wait_readable};
use crate::message::{STOP_ROUND, ToGuest, ToHost};
use crate::port::Port;
use std::io;
use std::time::{Duration, Instant};

/// How often a session without a link looks whether its program can still be moved.
const LOOK: Duration = Duration::from_secs(2);

enum State<W: Workload> {
    Running,
    Copying(W::Copying),
    /// With the time-out of the `Stop` that led here.
    Quiesced(W::Quiesced, Duration),
    Detached(W::Detached),
    /// With what it told when its gate opened.
    Arriving(W::Arriving, Opened),
}

impl<W: Workload> State<W> {
    fn name(&self) -> &'static str {
        match self {
            State::Running => "running",
            State::Copying(_) => "being copied",
            State::Quiesced(..) => "quiesced",
            State::Detached(_) => "detached",
            State::Arriving(..) => "arriving",
        }
    }
}

/// How a link ended.
enum End {
    /// dom0 has unmapped it.
    Closed,
    /// The domain is a new one.
    Moved,
    /// dom0 asks for a new link: a daemon that knows nothing of this one.
    Reopened,
    Broken(Interrupt),
}

/// One process' session. It outlives its rendezvous: after a lost one, `run` again with a new one.
pub struct Session<W: Workload> {
    workload: W,
    announcement: Announcement,
    pages: usize,
    patience: Patience,
    state: State<W>,
}

impl<W: Workload> Session<W> {
    /// A session that will share up to `pages` pages ([`MIN_PAGES`] to [`MAX_PAGES`]) when asked to open.
    pub fn new(workload: W, announcement: Announcement, pages: usize) -> Self {
        Session {
            workload,
            announcement,
            pages: pages.clamp(MIN_PAGES, MAX_PAGES),
            patience: Patience::default(),
            state: State::Running,
        }
    }

    /// Another patience than the default.
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Announces the session and serves it until the rendezvous fails: the only way it returns.
    pub fn run(&mut self, rendezvous: &mut dyn Rendezvous) -> io::Error {
        match self.serve_requests(rendezvous) {
            Ok(never) => match never {},
            Err(e) => e,
        }
    }

    fn serve_requests(
        &mut self,
        rendezvous: &mut dyn Rendezvous,
    ) -> io::Result<std::convert::Infallible> {
        self.announce(rendezvous)?;
        loop {
            match rendezvous.next()? {
                Some(Request::Open) => {
                    while let End::Reopened = self.open(rendezvous)? {}
                    self.announce(rendezvous)?;
                }
                Some(Request::Close) => rendezvous.close(None)?,
                Some(Request::Announce) => self.announce(rendezvous)?,
                None => {
                    // The reason a program cannot move appears while it runs: look now and then.
                    if !wait_readable(&[rendezvous.fd()], Some(LOOK))?
                        && self.workload.blocked() != self.announcement.blocked
                    {
                        self.announce(rendezvous)?;
                    }
                }
            }
        }
    }

    fn announce(&mut self, rendezvous: &mut dyn Rendezvous) -> io::Result<()> {
        self.announcement.state = match self.state {
            State::Detached(_) => Residence::Detached,
            State::Arriving(..) => Residence::Arriving,
            _ => Residence::Attached,
        };
        self.announcement.blocked = self.workload.blocked();
        rendezvous.announce(&self.announcement)
    }

    /// Shares pages and serves the link until it ends.
    fn open(&mut self, rendezvous: &mut dyn Rendezvous) -> io::Result<End> {
        // Before dom0 goes on: it decides by this whether to begin.
        let others = self.workload.others();
        if others != self.announcement.others {
            self.announcement.others = others;
            self.announce(rendezvous)?;
        }
        if let State::Detached(detached) = &mut self.state {
            self.workload.make_room(detached);
        }
        let link = match self.share(rendezvous) {
            Ok(link) => link,
            Err(e) => {
                let reason = format!("cannot share {} pages with dom0: {e}", self.pages);
                if let State::Detached(_) = self.state {
                    log::warn!("the program waits until dom0 can reach it: {reason}");
                }
                rendezvous.fail(&reason)?;
                return Ok(End::Closed);
            }
        };
        let layout = Layout::format(link.memory(), link.references());
        rendezvous.publish(&*link)?;
        let mut line = Line::new(Port::guest(link, layout), self.patience);
        let mut end = self.obey_commands(rendezvous, &mut line);
        match std::mem::replace(&mut self.state, State::Running) {
            State::Copying(copying) => self.workload.give_up(copying),
            State::Quiesced(quiesced, _) => {
                log::warn!("dom0 left while the program was stopped: it goes on");
                self.workload.reopen(quiesced);
            }
            other => self.state = other,
        }
        if let End::Broken(e) = &end {
            log::warn!("the channel to dom0 broke: {e}");
            end = self.last_word(rendezvous, end);
        }
        let link = line.port.into_link();
        match &end {
            End::Closed => rendezvous.close(Some(link))?,
            End::Moved => rendezvous.abandon(link),
            // Not kept until dom0 asks: that may be never, and a port bound across a suspend is a guest
            // kernel's BUG. Pages that dom0 still maps outlive the end of their sharing.
            End::Reopened | End::Broken(_) => drop(link),
        }
        Ok(end)
    }

    /// What dom0 has to say to a broken link. The break may come of a move, and then the port must not be
    /// touched: so there is some time for that news to arrive.
    fn last_word(&self, rendezvous: &mut dyn Rendezvous, broken: End) -> End {
        let deadline = Instant::now().checked_add(self.patience.silence);
        loop {
            match rendezvous.next() {
                Ok(Some(Request::Close)) => return End::Closed,
                Ok(Some(Request::Announce)) => return End::Moved,
                Ok(Some(Request::Open)) => return End::Reopened,
                Ok(None) => {}
                Err(_) => return broken,
            }
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) || wait_readable(&[rendezvous.fd()], left).is_err() {
                return broken;
            }
        }
    }

    fn share(&self, rendezvous: &mut dyn Rendezvous) -> io::Result<Box<dyn GuestLink>> {
        let link = rendezvous.share(self.pages)?;
        let pages = link.memory().len() / PAGE_SIZE;
        if (MIN_PAGES..=MAX_PAGES).contains(&pages) && pages == link.references().len() {
            return Ok(link);
        }
        Err(io::Error::other(format!(
            "only {pages} to be had, a channel takes {MIN_PAGES} or more"
        )))
    }

    fn obey_commands(&mut self, rendezvous: &mut dyn Rendezvous, line: &mut Line) -> End {
        loop {
            let patience = match &self.state {
                State::Quiesced(_, timeout) => self.patience.silence.saturating_add(*timeout),
                _ => self.patience.idle,
            };
            let mut traffic = Traffic {
                line: &mut *line,
                rendezvous: &mut *rendezvous,
            };
            let outcome = match traffic.command(patience) {
                Ok(command) => Self::obey(
                    &mut self.state,
                    &mut self.workload,
                    &mut self.announcement,
                    traffic.reborrow(),
                    command,
                ),
                Err(e) => Err(e),
            };
            match outcome {
                // A command that called a step off is obeyed next, in the step's place.
                Ok(()) | Err(Interrupt::CalledOff) => {}
                Err(Interrupt::Request) => match traffic.request() {
                    Some(Request::Close) => return End::Closed,
                    Some(Request::Announce) => return End::Moved,
                    Some(Request::Open) => return End::Reopened,
                    // A workload's own invention.
                    None => {}
                },
                Err(e) => return End::Broken(e),
            }
        }
    }

    fn obey(
        state: &mut State<W>,
        workload: &mut W,
        announcement: &mut Announcement,
        mut traffic: Traffic<'_>,
        command: ToGuest,
    ) -> Result<(), Interrupt> {
        let before = state.name();
        let (next, answer) = match (command, std::mem::replace(state, State::Running)) {
            (ToGuest::Begin { generation: new }, State::Running) => {
                match workload.begin(&mut Pulse::new(traffic.reborrow())) {
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
                let mut out = Outbox::new(traffic.reborrow(), n);
                let result = workload.round(&mut copying, n, &mut out);
                let answer = result.map(|r| ToHost::RoundDone {
                    number,
                    bytes: r.bytes,
                    dirty: r.dirty,
                    whole: r.whole,
                    why: r.why.into(),
                });
                (State::Copying(copying), answer)
            }
            (ToGuest::Stop { timeout_ms }, State::Copying(copying)) => {
                let timeout = Duration::from_millis(timeout_ms);
                let mut out = Outbox::new(traffic.reborrow(), STOP_ROUND);
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
            (ToGuest::Restore { generation: wanted }, State::Detached(detached))
                if wanted == announcement.generation =>
            {
                match workload.restore(detached) {
                    Ok((opened, arriving)) => {
                        Self::arrive(workload, announcement, &mut traffic, arriving, opened)
                    }
                    Err((detached, e)) => (State::Detached(detached), Err(e)),
                }
            }
            (ToGuest::Restore { generation: wanted }, State::Arriving(arriving, opened))
                if wanted == announcement.generation =>
            {
                Self::arrive(workload, announcement, &mut traffic, arriving, opened)
            }
            (command, other) => {
                let state = before;
                (other, Err(StepError::Misplaced { command, state }))
            }
        };
        *state = next;
        match answer {
            Ok(message) => traffic.send(message),
            Err(StepError::Interrupted(e)) if !matches!(e, Interrupt::Unserved { .. }) => Err(e),
            Err(e) => traffic.fail(&e.to_string()),
        }
    }
}

impl<W: Workload> Session<W> {
    /// The gate is open: says so, to dom0 and to whoever looks, and fetches.
    fn arrive(
        workload: &mut W,
        announcement: &mut Announcement,
        traffic: &mut Traffic<'_>,
        arriving: W::Arriving,
        opened: Opened,
    ) -> (State<W>, Result<ToHost, StepError>) {
        announcement.state = Residence::Arriving;
        announcement.blocked = workload.blocked();
        let told = traffic.send(opened.into()).and_then(|()| {
            let told = traffic.rendezvous.announce(announcement);
            told.map_err(Interrupt::from)
        });
        if let Err(e) = told {
            return (State::Arriving(arriving, opened), Err(e.into()));
        }
        match workload.arrive(arriving, &mut Inbox::new(traffic.reborrow())) {
            Ok(arrived) => (State::Running, Ok(arrived.into())),
            Err((arriving, e)) => (State::Arriving(arriving, opened), Err(e)),
        }
    }
}

fn resumed(blackout_ns: u64) -> ToHost {
    ToHost::Resumed { blackout_ns }
}
