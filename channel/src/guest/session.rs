//! A session: from request to request, from command to command.

use super::conversation::{Conversation, OpenLink};
use super::interrupt::Interrupt;
use super::state::{State, obey};
use super::timeouts::GuestTimeouts;
use super::workload::Workload;
use crate::PAGE_SIZE;
use crate::layout::{Layout, MAX_PAGES, MIN_PAGES};
use crate::link::{Announcement, GuestLink, Rendezvous, Request, wait_readable};
use crate::port::Port;
use std::io;
use std::time::{Duration, Instant};

/// How often a session without a link looks whether its program can still be moved.
const LOOK: Duration = Duration::from_secs(2);

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
    timeouts: GuestTimeouts,
    state: State<W>,
    /// A look that was asked for while a link was open, and is still to be done.
    later: Option<Request>,
}

impl<W: Workload> Session<W> {
    /// A session that will share up to `pages` pages ([`MIN_PAGES`] to [`MAX_PAGES`]) when asked to open.
    pub fn new(workload: W, announcement: Announcement, pages: usize) -> Self {
        Session {
            workload,
            announcement,
            pages: pages.clamp(MIN_PAGES, MAX_PAGES),
            timeouts: GuestTimeouts::default(),
            state: State::Running,
            later: None,
        }
    }

    /// Other time-outs than the defaults.
    pub fn with_timeouts(mut self, timeouts: GuestTimeouts) -> Self {
        self.timeouts = timeouts;
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
        self.announcement.bus = self.workload.bus(false);
        self.announce(rendezvous)?;
        loop {
            match rendezvous.next()? {
                Some(Request::Open) => {
                    while let End::Reopened = self.open(rendezvous)? {}
                    self.announce(rendezvous)?;
                    if let Some(look) = self.later.take() {
                        self.look(rendezvous, look)?;
                    }
                }
                Some(Request::Close) => rendezvous.close(None)?,
                Some(Request::Announce) => {
                    self.announcement.bus = self.workload.bus(false);
                    self.announce(rendezvous)?;
                }
                Some(request @ (Request::Look | Request::Rescan)) => {
                    self.look(rendezvous, request)?;
                }
                None => {
                    // The reason a program cannot move appears while it runs: look now and then.
                    if !wait_readable(&[rendezvous.fd()], Some(LOOK))? && self.has_news() {
                        self.announce(rendezvous)?;
                    }
                }
            }
        }
    }

    fn has_news(&self) -> bool {
        let told = &self.announcement;
        self.workload.blocked() != told.blocked
            || self.workload.left_to_driver().differs_from(told.left)
    }

    fn announce(&mut self, rendezvous: &mut dyn Rendezvous) -> io::Result<()> {
        // A state that was asked for travels detached.
        if rendezvous.is_other_domain() && matches!(self.state, State::Running) {
            self.workload.moved_unasked();
        }
        self.announcement.state = self.state.residence();
        self.announcement.blocked = self.workload.blocked();
        self.announcement.left = self.workload.left_to_driver();
        rendezvous.announce(&self.announcement)
    }

    /// Tells what is on the PCI bus.
    fn look(&mut self, rendezvous: &mut dyn Rendezvous, request: Request) -> io::Result<()> {
        self.announcement.bus = self.workload.bus(request == Request::Rescan);
        self.announce(rendezvous)?;
        rendezvous.looked()
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
        let mut open_link = OpenLink::new(Port::guest(link, layout), self.timeouts);
        let mut end = self.obey_commands(rendezvous, &mut open_link);
        self.later = open_link.take_later();
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
        let link = open_link.port.into_link();
        match &end {
            End::Closed => rendezvous.close(Some(link))?,
            End::Moved => rendezvous.abandon(link),
            // Not kept until dom0 asks: that may be never, and a port bound across a suspend is a guest
            // kernel's BUG. Pages that dom0 still maps outlive the end of their sharing.
            End::Reopened | End::Broken(_) => drop(link),
        }
        Ok(end)
    }

    /// Waits for a request after the link broke. If the domain has moved, that is how the session learns of it, and
    /// then it must not touch the port.
    fn last_word(&mut self, rendezvous: &mut dyn Rendezvous, broken: End) -> End {
        let deadline = Instant::now().checked_add(self.timeouts.silence);
        loop {
            match rendezvous.next() {
                Ok(Some(Request::Close)) => return End::Closed,
                Ok(Some(Request::Announce)) => return End::Moved,
                Ok(Some(Request::Open)) => return End::Reopened,
                Ok(None) => {}
                Ok(Some(look @ (Request::Look | Request::Rescan))) => self.later = Some(look),
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

    fn obey_commands(&mut self, rendezvous: &mut dyn Rendezvous, open_link: &mut OpenLink) -> End {
        loop {
            let patience = match &self.state {
                State::Quiesced(_, timeout) => self.timeouts.silence.saturating_add(*timeout),
                _ => self.timeouts.idle,
            };
            let mut conversation = Conversation {
                link: &mut *open_link,
                rendezvous: &mut *rendezvous,
            };
            let outcome = match conversation.command(patience) {
                Ok(command) => obey(
                    &mut self.state,
                    &mut self.workload,
                    &mut self.announcement,
                    conversation.reborrow(),
                    command,
                ),
                Err(e) => Err(e),
            };
            match outcome {
                // A command that called a step off is obeyed next, in the step's place.
                Ok(()) | Err(Interrupt::CalledOff) => {}
                Err(Interrupt::Request) => match conversation.request() {
                    Some(Request::Close) => return End::Closed,
                    Some(Request::Announce) => return End::Moved,
                    Some(Request::Open) => return End::Reopened,
                    Some(request @ (Request::Look | Request::Rescan)) => {
                        if let Err(e) = self.look(rendezvous, request) {
                            return End::Broken(e.into());
                        }
                    }
                    // A workload's own invention.
                    None => {}
                },
                Err(e) => return End::Broken(e),
            }
        }
    }
}
