//! One client's conversation.

use crate::announcement::{short, text, vetted};
use crate::limits::{Allowance, Limits};
use crate::loan::Loan;
use crate::process::Process;
use crate::registry::{NotYours, Seat};
use crate::xen::{Place, Xen};
use channel::agent::{Answer, Asked, Told, VERSION};
use channel::datagram;
use channel::image::SessionId;
use channel::layout::MIN_PAGES;
use channel::link::{Announcement, Request, Residence};
use channel::this_domain::ThisDomain;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Longest reason of a failure, in characters.
const REASON: usize = 400;
/// How long a client may take to announce a session.
const FIRST_WORD: Duration = Duration::from_secs(60);

/// How a conversation ended.
#[derive(Debug)]
pub(crate) enum End {
    /// So did the process.
    ProcessEnded,
    /// The process has connected anew.
    Superseded,
    /// The process has hung up.
    HungUp,
    /// The agent hangs up.
    Dropped(String),
}

impl From<io::Error> for End {
    fn from(e: io::Error) -> Self {
        End::Dropped(e.to_string())
    }
}

/// The session that a client has announced.
struct Session {
    id: SessionId,
    place: Box<dyn Place>,
    state: Residence,
    /// Where it was last announced.
    domain: Option<ThisDomain>,
}

impl Session {
    fn announce(
        &mut self,
        told: Announcement,
        process: &Process,
        xen: &dyn Xen,
    ) -> io::Result<Answer> {
        let vetted = vetted(told, process);
        self.state = vetted.state;
        self.place
            .announce(&vetted, &process.instance, process.uid)?;
        self.domain = xen.domain();
        Ok(Answer::Domain(self.domain.clone()))
    }

    /// Whether the domain has become another one since. By what no program can touch; its nodes it can have removed.
    fn has_moved(&self, xen: &dyn Xen) -> bool {
        match xen.domain().zip(self.domain.as_ref()) {
            Some((now, then)) => now.is_other_than(then),
            None => !self.place.is_announced(),
        }
    }
}

pub(crate) struct Client<'a> {
    xen: &'a dyn Xen,
    limits: &'a Limits,
    process: &'a Process,
    seat: &'a Seat,
    socket: OwnedFd,
    /// This end of the socket of requests, once the client has said hello.
    requests: Option<OwnedFd>,
    session: Option<Session>,
    loan: Option<Loan>,
    /// dom0 waits for a channel.
    asked_to_open: bool,
    allowance: Allowance,
}

impl<'a> Client<'a> {
    /// Who is at the other end of `socket`, which must not block, is `process`.
    pub(crate) fn new(
        xen: &'a dyn Xen,
        limits: &'a Limits,
        process: &'a Process,
        seat: &'a Seat,
        socket: OwnedFd,
    ) -> Client<'a> {
        Client {
            xen,
            limits,
            process,
            seat,
            socket,
            requests: None,
            session: None,
            loan: None,
            asked_to_open: false,
            allowance: Allowance::new(limits, Instant::now()),
        }
    }

    /// Serves the client until one of both ends it. Nothing is lent afterwards. Gives the session
    /// that it has announced, and where its GPU state is.
    pub(crate) fn serve(mut self) -> (End, Option<(SessionId, Residence)>) {
        let end = loop {
            if let Err(end) = self.turn() {
                break end;
            }
        };
        self.end_loan();
        if let End::Dropped(reason) = &end {
            // As a courtesy: a client that does not read learns nothing.
            let _ = datagram::send(&self.socket, &Answer::Refused(reason.clone()), &[]);
        }
        (end, self.session.map(|s| (s.id, s.state)))
    }

    /// Waits for something and deals with it.
    fn turn(&mut self) -> Result<(), End> {
        let place = self.session.as_ref().map(|s| s.place.fd());
        let mut fds: Vec<PollFd<'_>> = [self.process.as_fd(), self.seat.as_fd()]
            .into_iter()
            .chain([self.socket.as_fd()])
            .chain(place)
            .chain(self.loan.iter().flat_map(Loan::fds))
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let patience = match (&self.session, &self.loan) {
            (None, _) => Some(FIRST_WORD),
            (_, Some(loan)) => Some(loan.patience()),
            (_, None) => None,
        };
        let limit = patience.map(|p| Timespec {
            tv_sec: p.as_secs() as i64,
            tv_nsec: p.subsec_nanos().into(),
        });
        match poll(&mut fds, limit.as_ref()) {
            Ok(0) if self.session.is_none() => {
                return Err(End::Dropped("it has announced no session".into()));
            }
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(e) => return Err(io::Error::from(e).into()),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut next = || ready.next().unwrap_or(false);
        let (ended, superseded, said) = (next(), next(), next());
        let stirred = place.is_some() && next();
        let (rang, rang_too) = (next(), next());
        if ended {
            return Err(End::ProcessEnded);
        }
        if superseded {
            return Err(End::Superseded);
        }
        if stirred {
            self.pass_requests_on()?;
        }
        if said {
            self.hear()?;
        }
        if let Some(loan) = &mut self.loan
            && let Err(e) = loan.pass(rang || rang_too)
        {
            log::debug!("a channel ends: {e}");
            self.end_loan();
        }
        Ok(())
    }

    /// What dom0 asks.
    fn pass_requests_on(&mut self) -> Result<(), End> {
        while let Some(session) = &mut self.session
            && let Some(request) = session.place.next()?
        {
            match request {
                // If there is a channel, this is a dom0 that knows nothing of it.
                Request::Open => {
                    self.end_loan();
                    self.asked_to_open = true;
                }
                // dom0 has unmapped (or has never mapped). The client need not be asked.
                Request::Close => {
                    self.asked_to_open = false;
                    self.end_loan();
                    self.with_place(|place| place.closed())?;
                }
                Request::Announce => {
                    self.asked_to_open = false;
                    self.end_loan();
                }
                Request::Look | Request::Rescan => {}
            }
            self.allowance.asked();
            let requests = self.requests.as_ref().expect("announced after its hello");
            datagram::send(requests, &Asked { request }, &[]).map_err(|e| match e.kind() {
                io::ErrorKind::WouldBlock => End::Dropped("it does not read what dom0 asks".into()),
                _ => End::HungUp,
            })?;
        }
        Ok(())
    }

    /// What is lent ends. dom0 hears first, so that it maps nothing else under these numbers.
    fn end_loan(&mut self) {
        let Some(loan) = self.loan.take() else {
            return;
        };
        let session = self.session.as_ref();
        if session.is_some_and(|s| s.has_moved(self.xen)) {
            return loan.forget();
        }
        if loan.is_published()
            && let Err(e) = self.with_place(|place| place.retract())
        {
            log::warn!("a channel that ends is still published: {e}");
        }
        drop(loan);
    }

    /// One message of the client's.
    fn hear(&mut self) -> Result<(), End> {
        let told = match datagram::receive_plain::<Told>(&self.socket) {
            Ok(Some(told)) => told,
            Ok(None) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(End::HungUp),
            Err(e) => return Err(End::Dropped(format!("it sent nonsense: {e}"))),
        };
        if !self.allowance.take(Instant::now()) {
            return Err(End::Dropped("it sends too many messages".into()));
        }
        let (answer, fds) = match self.obey(told)? {
            Ok(answer) => answer,
            Err(e) => (Answer::Failed(text(&e.to_string(), REASON)), Vec::new()),
        };
        let passed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        datagram::send(&self.socket, &answer, &passed).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => End::Dropped("it does not read its answers".into()),
            _ => End::HungUp,
        })
    }

    /// The answer and what goes with it. An error within is the client's to know; one without ends the conversation.
    #[allow(clippy::type_complexity)] // two kinds of failure
    fn obey(&mut self, told: Told) -> Result<io::Result<(Answer, Vec<OwnedFd>)>, End> {
        let done = |result: io::Result<()>| Ok(result.map(|()| (Answer::Done, Vec::new())));
        match (told, self.requests.is_some(), &mut self.session) {
            (Told::Hello { version: VERSION }, false, _) => Ok(self.greet()),
            (Told::Hello { version }, false, _) => Err(End::Dropped(format!(
                "the agent speaks version {VERSION}, and the program's library {version}: install the same xl-gpu in both"
            ))),
            (Told::Announce(announcement), true, None) => self.enter(*announcement).map(Ok),
            (Told::Announce(a), true, Some(s)) if a.session == s.id => Ok(s
                .announce(*a, self.process, self.xen)
                .map(|answer| (answer, Vec::new()))),
            (Told::Where, true, _) => Ok(Ok((Answer::Domain(self.xen.domain()), Vec::new()))),
            (Told::Share { pages }, true, Some(_)) => Ok(self.lend(pages)),
            (Told::Publish, true, Some(_)) => done(self.publish()),
            (Told::Closed, true, Some(_)) => {
                self.end_loan();
                done(self.with_place(|place| place.closed()))
            }
            (Told::Failed(reason), true, Some(_)) => {
                self.end_loan();
                self.asked_to_open = false;
                let reason = text(&reason, REASON);
                done(self.with_place(|place| place.fail(&reason)))
            }
            (Told::Looked, true, Some(s)) => done(s.place.looked()),
            (told, ..) => {
                let told = text(&format!("{told:?}"), 40);
                Err(End::Dropped(format!("it said {told} out of turn")))
            }
        }
    }

    fn with_place(&mut self, act: impl FnOnce(&mut dyn Place) -> io::Result<()>) -> io::Result<()> {
        match &mut self.session {
            Some(session) => act(&mut *session.place),
            None => Ok(()),
        }
    }

    fn greet(&mut self) -> io::Result<(Answer, Vec<OwnedFd>)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        self.requests = Some(ours);
        Ok((Answer::Done, vec![theirs]))
    }

    /// The first announcement: the client takes its name.
    fn enter(&mut self, told: Announcement) -> Result<(Answer, Vec<OwnedFd>), End> {
        let dropped = |e: &dyn std::error::Error| End::Dropped(e.to_string());
        let id = told.session;
        let place = self.xen.meet(id)?;
        // Of one who was here before this agent, or does without.
        let owner = place.owner()?;
        if owner.is_some_and(|owner| owner != self.process.instance) {
            return Err(dropped(&NotYours::Taken(id)));
        }
        if let Some(before) = self.seat.claim(id).map_err(|e| dropped(&e))? {
            log::info!(
                "session {}: its process runs another program",
                short(before)
            );
            self.xen.remove(before)?;
        }
        let session = self.session.insert(Session {
            id,
            place,
            state: told.state,
            domain: None,
        });
        let answer = session.announce(told, self.process, self.xen)?;
        log::info!(
            "session {}: process {} of user {}, {}",
            short(id),
            self.process.instance.pid(),
            self.process.uid,
            text(&self.process.program, REASON)
        );
        Ok((answer, Vec::new()))
    }

    fn lend(&mut self, pages: usize) -> io::Result<(Answer, Vec<OwnedFd>)> {
        if !self.asked_to_open {
            return Err(io::Error::other("dom0 does not wait for pages"));
        }
        self.end_loan();
        let most = self.limits.pages.max(MIN_PAGES);
        let lent = self.xen.lend(pages.clamp(MIN_PAGES, most))?;
        let (loan, given) = Loan::new(lent)?;
        let answer = Answer::Lent { pages: loan.len() };
        self.loan = Some(loan);
        Ok((answer, vec![given.pages, given.doorbell]))
    }

    fn publish(&mut self) -> io::Result<()> {
        let waits = std::mem::take(&mut self.asked_to_open);
        let loan = self.loan.take_if(|_| waits);
        let loan = loan.ok_or_else(|| io::Error::other("dom0 does not wait for pages"))?;
        let (loan, channel) = loan.open()?;
        self.loan = Some(loan);
        self.with_place(|place| place.publish(&channel))
    }
}
