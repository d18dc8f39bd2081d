//! Pages and a doorbell, lent to a program while dom0 has its session open.
//!
//! The agent keeps its own mapping of the pages as long as dom0 may map them. So the program cannot end their grants, whatever it does
//! with the descriptor, and no other page gets their references meanwhile. The port never leaves the agent: one that is bound across a
//! suspend makes the guest's kernel BUG when it is closed.

use crate::xen::Lent;
use channel::layout::MIN_PAGES;
use channel::reference_seal::ReferenceSeal;
use channel::xenstore::PublishedChannel;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

/// What a program has been lent.
pub(crate) struct Loan {
    lent: Box<dyn Lent>,
    /// This end of the doorbell; none once the program has closed its own.
    bell: Option<OwnedFd>,
}

impl Loan {
    /// Lends what `lent` is; the second value is the program's end of the doorbell.
    pub(crate) fn new(lent: Box<dyn Lent>) -> io::Result<(Loan, OwnedFd)> {
        let references = lent.references();
        if references.len() < MIN_PAGES {
            let pages = references.len();
            return Err(io::Error::other(format!(
                "only {pages} pages to be had, a channel takes {MIN_PAGES} or more"
            )));
        }
        for (page, reference) in references.iter().enumerate() {
            let memory = lent.memory();
            memory.store(page * 4, *reference, Ordering::Relaxed);
        }
        // Each end has flags of its own, which those of an eventfd would not be: nobody can make the agent wait.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let loan = Loan {
            lent,
            bell: Some(ours),
        };
        Ok((loan, theirs))
    }

    /// Pages in all.
    pub(crate) fn len(&self) -> usize {
        self.lent.references().len()
    }

    /// What the program maps.
    pub(crate) fn pages(&self) -> BorrowedFd<'_> {
        self.lent.pages()
    }

    /// What dom0 is to map, and nothing else.
    pub(crate) fn channel(&self) -> io::Result<PublishedChannel> {
        let references = self.lent.references();
        Ok(PublishedChannel {
            reference: references[0],
            port: self.lent.port(),
            pages: references.len(),
            seal: Some(ReferenceSeal::new(references)?),
        })
    }

    /// Readable when dom0 rang, and when the program rang.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.lent.fd()).chain(self.bell.as_ref().map(AsFd::as_fd))
    }

    /// Passes on what was rung, once each way.
    pub(crate) fn relay(&mut self, from_dom0: bool, from_program: bool) -> io::Result<()> {
        if from_dom0 {
            self.lent.clear()?;
            if let Some(bell) = &self.bell {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                match rustix::net::send(bell, &[1], flags) {
                    // No room: it has rings waiting.
                    Ok(_) | Err(Errno::AGAIN) => {}
                    // It is about to give the pages back.
                    Err(_) => self.bell = None,
                }
            }
        }
        if from_program && let Some(bell) = &self.bell {
            let mut rings = [0; 512];
            match rustix::net::recv(bell, &mut rings[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => self.bell = None,
                Ok(_) => self.lent.notify()?,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => self.bell = None,
            }
        }
        Ok(())
    }

    /// Ends port and grants; what is given back keeps the program's doorbell from falling silent before it is told.
    pub(crate) fn end(self) -> Option<OwnedFd> {
        self.bell
    }

    /// Forgets port and grants: they were another domain's, and ending them would hit whatever has their numbers in this one.
    pub(crate) fn forget(self) -> Option<OwnedFd> {
        log::warn!(
            "the domain was moved with a session open, by somebody who did not ask: do not stop the agent before the guest is rebooted"
        );
        std::mem::forget(self.lent);
        self.bell
    }
}
