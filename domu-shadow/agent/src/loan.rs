//! A program's channel, relayed while dom0 has its session open.
//!
//! The program shares memory with the agent alone. Granted pages, their references and the port never leave the agent: whoever has a
//! descriptor of gntalloc is as good as root, and a port that is bound across a suspend makes the guest's kernel BUG when it is closed.

use crate::xen::Lent;
use channel::agent::{ForProgram, SharedLink};
use channel::layout::{Layout, MIN_PAGES};
use channel::link::Link;
use channel::relay::{Next, Relay};
use channel::xenstore::PublishedChannel;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// A channel on which nothing is said for so long is closed: longer than either end waits by itself.
const SILENCE: Duration = Duration::from_secs(70 * 60);
/// How soon a full ring is looked at again.
const RETRY: Duration = Duration::from_millis(1);

/// What a program has been lent.
pub(crate) struct Loan {
    channel: Channel,
    /// dom0 may have mapped it.
    is_published: bool,
    said: Instant,
    next: Next,
}

enum Channel {
    /// The program lays its pages out.
    New(SharedLink, Box<dyn Lent>),
    Open(Relay<SharedLink, Box<dyn Lent>>),
}

impl Loan {
    /// Lends as many pages as `lent` has.
    pub(crate) fn new(lent: Box<dyn Lent>) -> io::Result<(Loan, ForProgram)> {
        let pages = lent.references().len();
        if pages < MIN_PAGES {
            return Err(io::Error::other(format!(
                "only {pages} pages to be had, a channel takes {MIN_PAGES} or more"
            )));
        }
        let (link, given) = SharedLink::new(pages)?;
        let loan = Loan {
            channel: Channel::New(link, lent),
            is_published: false,
            said: Instant::now(),
            next: Next::Wait,
        };
        Ok((loan, given))
    }

    /// Pages in all.
    pub(crate) fn len(&self) -> usize {
        match &self.channel {
            Channel::New(_, lent) => lent.references().len(),
            Channel::Open(relay) => relay.layout().pages(),
        }
    }

    pub(crate) fn is_published(&self) -> bool {
        self.is_published
    }

    /// The program has laid its pages out: so are those for dom0, and what is said is passed on from now on.
    pub(crate) fn open(self) -> io::Result<(Loan, PublishedChannel)> {
        let Channel::New(program, lent) = self.channel else {
            return Err(io::Error::other("it is open"));
        };
        let references = lent.references();
        let theirs = Layout::read(program.memory(), references.len()).map_err(io::Error::other)?;
        let layout = Layout::format(lent.memory(), references);
        if theirs != layout {
            return Err(io::Error::other(
                "its pages are laid out in another way than the agent's",
            ));
        }
        let published = PublishedChannel {
            reference: references[0],
            port: lent.port(),
            pages: references.len(),
        };
        let loan = Loan {
            channel: Channel::Open(Relay::new(program, lent, layout)),
            is_published: true,
            // The program may have written before it said so.
            next: Next::Again,
            ..self
        };
        Ok((loan, published))
    }

    /// Readable when there is something to pass on.
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match &self.channel {
            Channel::New(program, _) => vec![program.fd()],
            Channel::Open(relay) => relay.fds().into(),
        }
    }

    /// How long to wait for that.
    pub(crate) fn patience(&self) -> Duration {
        match self.next {
            Next::Wait => SILENCE.saturating_sub(self.said.elapsed()),
            Next::Again => Duration::ZERO,
            Next::Retry => RETRY,
        }
    }

    /// Passes on what was said. An error ends the loan: an end has hung up, broken a rule, or fallen silent.
    pub(crate) fn pass(&mut self, rang: bool) -> io::Result<()> {
        if !rang && self.next == Next::Wait {
            return match self.said.elapsed() < SILENCE {
                true => Ok(()),
                false => Err(io::ErrorKind::TimedOut.into()),
            };
        }
        self.said = Instant::now();
        match &mut self.channel {
            Channel::New(program, _) => program.clear(),
            Channel::Open(relay) => {
                self.next = relay.pass().map_err(io::Error::other)?;
                Ok(())
            }
        }
    }

    /// Forgets port and grants: they were another domain's, and ending them would hit whatever has their numbers in this one.
    pub(crate) fn forget(self) {
        log::warn!(
            "the domain was moved with a session open, by somebody who did not ask: do not stop the agent before the guest is rebooted"
        );
        match self.channel {
            Channel::New(_, lent) => std::mem::forget(lent),
            Channel::Open(relay) => std::mem::forget(relay.into_dom0()),
        }
    }
}
