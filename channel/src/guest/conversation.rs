//! One open link, as the guest's steps use it.

use super::interrupt::Interrupt;
use super::slots::{Slot, Slots};
use super::timeouts::GuestTimeouts;
use crate::link::{GuestLink, Rendezvous, Request, wait_readable};
use crate::memory::SharedBytes;
use crate::message::{ToGuest, ToHost};
use crate::port::{Port, PortError};
use std::time::Duration;

/// What lasts as long as the link is open.
pub(super) struct OpenLink {
    pub(super) port: Port<Box<dyn GuestLink>>,
    pub(super) slots: Slots,
    /// A command that came in the middle of a step, to be obeyed next.
    called_off: Option<ToGuest>,
    /// A request that came meanwhile: it ends the link, but a look.
    request: Option<Request>,
    /// A look that was asked for in the middle of a step, which it does not end.
    later: Option<Request>,
    in_step: bool,
    timeouts: GuestTimeouts,
}

impl OpenLink {
    pub(super) fn new(port: Port<Box<dyn GuestLink>>, timeouts: GuestTimeouts) -> OpenLink {
        let slots = Slots::new(port.layout().slots());
        OpenLink {
            port,
            slots,
            called_off: None,
            request: None,
            later: None,
            in_step: false,
            timeouts,
        }
    }
}

impl OpenLink {
    /// A look that no command came after.
    pub(super) fn take_later(&mut self) -> Option<Request> {
        self.later.take()
    }
}

/// The link and the meeting place, while something waits for either.
pub(super) struct Conversation<'a> {
    pub(super) link: &'a mut OpenLink,
    pub(super) rendezvous: &'a mut dyn Rendezvous,
}

impl Conversation<'_> {
    pub(super) fn reborrow(&mut self) -> Conversation<'_> {
        Conversation {
            link: &mut *self.link,
            rendezvous: &mut *self.rendezvous,
        }
    }

    /// The rendezvous is readable. An error where a request ends the link; otherwise it was noise, such as a watch
    /// that fires for our own acknowledgement, and the wait goes on.
    fn stirred(&mut self) -> Result<(), Interrupt> {
        match self.rendezvous.next()? {
            Some(look @ (Request::Look | Request::Rescan)) if self.link.in_step => {
                self.link.later = Some(look);
                Ok(())
            }
            Some(request) => {
                self.link.request = Some(request);
                Err(Interrupt::Request)
            }
            None => Ok(()),
        }
    }

    /// A request that has ended the link.
    pub(super) fn request(&mut self) -> Option<Request> {
        self.link.request.take()
    }

    /// Any message, within `patience`.
    fn recv_any(&mut self, patience: Duration) -> Result<ToGuest, Interrupt> {
        loop {
            let port = &mut self.link.port;
            match port.recv_from_host(Some(patience), self.rendezvous.fd()) {
                Ok(message) => return Ok(message),
                Err(PortError::Interrupted) => self.stirred()?,
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// The next command, within `patience`. Slots that earlier steps left at dom0 come back meanwhile.
    pub(super) fn command(&mut self, patience: Duration) -> Result<ToGuest, Interrupt> {
        self.link.slots.next_step();
        self.link.in_step = false;
        if let Some(look) = self.link.later.take() {
            self.link.request = Some(look);
            return Err(Interrupt::Request);
        }
        let command = self.next_command(patience);
        self.link.in_step = command.is_ok();
        command
    }

    fn next_command(&mut self, patience: Duration) -> Result<ToGuest, Interrupt> {
        if let Some(command) = self.link.called_off.take() {
            return Ok(command);
        }
        loop {
            match self.recv_any(patience)? {
                ToGuest::SlotFree { slot } => self.link.slots.copied(slot)?,
                ToGuest::Filled { slot, .. } | ToGuest::FilledZero { slot, .. } => {
                    let slot = self.link.slots.filled(slot)?;
                    self.link.slots.put_back(slot);
                }
                ToGuest::FetchFailed { slot } => self.link.slots.unfilled(slot)?,
                command => return Ok(command),
            }
        }
    }

    /// A message within a step: any command calls the step off.
    pub(super) fn recv(&mut self) -> Result<ToGuest, Interrupt> {
        let message = self.recv_any(self.link.timeouts.silence)?;
        self.within_step(message)
    }

    fn within_step(&mut self, message: ToGuest) -> Result<ToGuest, Interrupt> {
        match message {
            message @ (ToGuest::SlotFree { .. }
            | ToGuest::Filled { .. }
            | ToGuest::FilledZero { .. }
            | ToGuest::FetchFailed { .. }) => Ok(message),
            command => {
                self.link.called_off = Some(command);
                Err(Interrupt::CalledOff)
            }
        }
    }

    /// A message within a step that is there already.
    pub(super) fn try_recv(&mut self) -> Result<Option<ToGuest>, Interrupt> {
        match self.link.port.try_recv_from_host() {
            Ok(Some(message)) => self.within_step(message).map(Some),
            Ok(None) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether the rendezvous has a request that ends the link.
    pub(super) fn look_up(&mut self) -> Result<(), Interrupt> {
        if wait_readable(&[self.rendezvous.fd()], Some(Duration::ZERO))? {
            self.stirred()?;
        }
        Ok(())
    }

    pub(super) fn send(&mut self, message: ToHost) -> Result<(), Interrupt> {
        loop {
            let (port, patience) = (&mut self.link.port, self.link.timeouts.silence);
            match port.send_to_host(message, patience, self.rendezvous.fd()) {
                Ok(()) => return Ok(()),
                Err(PortError::Interrupted) => self.stirred()?,
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Tells dom0 why a step failed. The text needs a slot, and one that dom0 still has to read must not be
    /// overwritten: waits until it has copied one.
    pub(super) fn fail(&mut self, reason: &str) -> Result<(), Interrupt> {
        self.link.slots.next_step();
        let slot = loop {
            if let Some(slot) = self.link.slots.take() {
                break slot;
            }
            match self.recv()? {
                ToGuest::SlotFree { slot } => self.link.slots.copied(slot)?,
                ToGuest::FetchFailed { slot } => self.link.slots.unfilled(slot)?,
                ToGuest::Filled { slot, .. } | ToGuest::FilledZero { slot, .. } => {
                    break self.link.slots.filled(slot)?;
                }
                other => return Err(Interrupt::Unexpected(other)),
            }
        };
        let payload = self.payload(&slot);
        let len = floor_char_boundary(reason, payload.len());
        let room = payload.slice(0, len).expect("no longer than the payload");
        room.write(&reason.as_bytes()[..len]);
        let message = ToHost::Failed {
            slot: slot.index() as u64,
            len: len as u64,
        };
        self.link.slots.sent(&slot);
        self.send(message)
    }

    pub(super) fn payload(&self, slot: &Slot) -> SharedBytes<'_> {
        self.link.slots.check(slot);
        let port = &self.link.port;
        port.layout().payload(port.link().memory(), slot.index())
    }
}

/// The longest length up to `len` that cuts no character of `text`.
fn floor_char_boundary(text: &str, len: usize) -> usize {
    let mut len = text.len().min(len);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    len
}
