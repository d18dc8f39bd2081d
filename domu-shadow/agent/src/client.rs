//! One client's conversation.

use crate::announcement::{text, vetted};
use crate::limits::{Allowance, Limits};
use crate::loan::Loan;
use crate::process::Process;
use crate::registry::Seat;
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
use std::time::Instant;

/// Longest reason of a failure, in characters.
const REASON: usize = 400;
/// How long a client may take to announce a session, in seconds.
const FIRST_WORD: i64 = 60;

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

/// What is lent at the moment.
enum Lending {
    Nothing,
    Lent(Loan),
    /// dom0 has unmapped, port and grants have ended; the program is to say that it has unmapped, too.
    Ending {
        _bell: Option<OwnedFd>,
    },
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

    /// Whether the domain has become another one since, as far as can be told: its nodes are gone, or it says so.
    fn has_moved(&self, xen: &dyn Xen) -> bool {
        let domains = xen.domain().zip(self.domain.as_ref());
        !self.place.is_announced() || domains.is_some_and(|(now, then)| now.is_other_than(then))
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
    lending: Lending,
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
            lending: Lending::Nothing,
            asked_to_open: false,
            allowance: Allowance::new(limits, Instant::now()),
        }
    }

    /// Serves the client until one of both ends it. Nothing is lent afterwards. Says where the GPU state of the session
    /// is that it has announced.
    pub(crate) fn serve(mut self) -> (End, Option<Residence>) {
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
        (end, self.session.map(|s| s.state))
    }

    /// Waits for something and deals with it.
    fn turn(&mut self) -> Result<(), End> {
        let loan = match &self.lending {
            Lending::Lent(loan) => Some(loan),
            _ => None,
        };
        let place = self.session.as_ref().map(|s| s.place.fd());
        let mut fds: Vec<PollFd<'_>> = [self.process.as_fd(), self.seat.as_fd()]
            .into_iter()
            .chain([self.socket.as_fd()])
            .chain(place)
            .chain(loan.into_iter().flat_map(Loan::fds))
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let first_word = Timespec {
            tv_sec: FIRST_WORD,
            tv_nsec: 0,
        };
        let limit = self.session.is_none().then_some(&first_word);
        match poll(&mut fds, limit) {
            Ok(0) => return Err(End::Dropped("it has announced no session".into())),
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(e) => return Err(io::Error::from(e).into()),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut next = || ready.next().unwrap_or(false);
        let (ended, superseded, said) = (next(), next(), next());
        let stirred = place.is_some() && next();
        let (from_dom0, from_program) = (next(), next());
        if ended {
            return Err(End::ProcessEnded);
        }
        if superseded {
            return Err(End::Superseded);
        }
        if let Lending::Lent(loan) = &mut self.lending {
            loan.relay(from_dom0, from_program)?;
        }
        if stirred {
            self.pass_requests_on()?;
        }
        if said {
            self.hear()?;
        }
        Ok(())
    }

    /// What dom0 asks.
    fn pass_requests_on(&mut self) -> Result<(), End> {
        while let Some(session) = &mut self.session
            && let Some(request) = session.place.next()?
        {
            match request {
                Request::Open => self.asked_to_open = true,
                // dom0 has unmapped (or has never mapped). What the client does now cannot keep anything bound.
                Request::Close | Request::Announce => self.end_loan(),
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

    fn end_loan(&mut self) {
        self.lending = match std::mem::replace(&mut self.lending, Lending::Nothing) {
            Lending::Lent(loan) => {
                let session = self.session.as_ref();
                let bell = match session.is_some_and(|s| s.has_moved(self.xen)) {
                    true => loan.forget(),
                    false => loan.end(),
                };
                Lending::Ending { _bell: bell }
            }
            other => other,
        };
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
        let mut passed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        if let (Answer::Lent { .. }, Lending::Lent(loan)) = (&answer, &self.lending) {
            passed.insert(0, loan.pages());
        }
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
            (Told::Publish, true, Some(s)) => match &self.lending {
                Lending::Lent(loan) if self.asked_to_open => {
                    self.asked_to_open = false;
                    done(loan.channel().and_then(|c| s.place.publish(&c)))
                }
                _ => done(Err(io::Error::other("dom0 does not wait for pages"))),
            },
            (Told::Closed, true, Some(_)) => {
                self.end_loan();
                self.lending = Lending::Nothing;
                done(self.with_place(|place| place.closed()))
            }
            (Told::Failed(reason), true, Some(_)) => {
                self.end_loan();
                self.lending = Lending::Nothing;
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
            return Err(dropped(&crate::registry::Taken(id)));
        }
        if let Some(before) = self.seat.claim(id).map_err(|e| dropped(&e))? {
            log::info!("session {before}: its process runs another program");
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
            "session {id}: process {} of user {}, {}",
            self.process.instance.pid(),
            self.process.uid,
            text(&self.process.program, REASON)
        );
        Ok((answer, Vec::new()))
    }

    fn lend(&mut self, pages: usize) -> io::Result<(Answer, Vec<OwnedFd>)> {
        self.end_loan();
        self.lending = Lending::Nothing;
        if !self.asked_to_open {
            return Err(io::Error::other("dom0 does not wait for pages"));
        }
        let most = self.limits.pages.max(MIN_PAGES);
        let lent = self.xen.lend(pages.clamp(MIN_PAGES, most))?;
        let (loan, theirs) = Loan::new(lent)?;
        let answer = Answer::Lent { pages: loan.len() };
        self.lending = Lending::Lent(loan);
        Ok((answer, vec![theirs]))
    }
}
