//! One open link, as the guest's steps use it.

use super::Patience;
use super::interrupt::Interrupt;
use super::slots::{Slot, Slots};
use crate::link::{GuestLink, Rendezvous, Request, wait_readable};
use crate::memory::SharedBytes;
use crate::message::{ToGuest, ToHost};
use crate::port::{Port, PortError};
use std::time::Duration;

/// What lasts as long as the link is open.
pub(super) struct Line {
    pub(super) port: Port<Box<dyn GuestLink>>,
    pub(super) slots: Slots,
    /// A command that came in the middle of a step, to be obeyed next.
    called_off: Option<ToGuest>,
    /// A request that came meanwhile: it ends the link.
    request: Option<Request>,
    patience: Patience,
}

impl Line {
    pub(super) fn new(port: Port<Box<dyn GuestLink>>, patience: Patience) -> Line {
        let slots = Slots::new(port.layout().slots());
        Line {
            port,
            slots,
            called_off: None,
            request: None,
            patience,
        }
    }
}

/// The line and the meeting place, while something waits for either.
pub(super) struct Traffic<'a> {
    pub(super) line: &'a mut Line,
    pub(super) rendezvous: &'a mut dyn Rendezvous,
}

impl Traffic<'_> {
    pub(super) fn reborrow(&mut self) -> Traffic<'_> {
        Traffic {
            line: &mut *self.line,
            rendezvous: &mut *self.rendezvous,
        }
    }

    /// The rendezvous stirred: an error where that ends the link, else it was noise (a watch that fires
    /// for our own acknowledgement, say) and the wait goes on.
    fn stirred(&mut self) -> Result<(), Interrupt> {
        match self.rendezvous.next()? {
            Some(request) => {
                self.line.request = Some(request);
                Err(Interrupt::Request)
            }
            None => Ok(()),
        }
    }

    /// A request that has ended the link.
    pub(super) fn request(&mut self) -> Option<Request> {
        self.line.request.take()
    }

    /// Any message, within `patience`.
    fn recv_any(&mut self, patience: Duration) -> Result<ToGuest, Interrupt> {
        loop {
            let port = &mut self.line.port;
            match port.recv_from_host(Some(patience), self.rendezvous.fd()) {
                Ok(message) => return Ok(message),
                Err(PortError::Interrupted) => self.stirred()?,
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// The next command, within `patience`. Slots that earlier steps left at dom0 come back meanwhile.
    pub(super) fn command(&mut self, patience: Duration) -> Result<ToGuest, Interrupt> {
        self.line.slots.next_step();
        if let Some(command) = self.line.called_off.take() {
            return Ok(command);
        }
        loop {
            match self.recv_any(patience)? {
                ToGuest::SlotFree { slot } => self.line.slots.copied(slot)?,
                ToGuest::Filled { slot, .. } | ToGuest::FilledZero { slot, .. } => {
                    let slot = self.line.slots.filled(slot)?;
                    self.line.slots.put_back(slot);
                }
                ToGuest::FetchFailed { slot } => self.line.slots.unfilled(slot)?,
                command => return Ok(command),
            }
        }
    }

    /// A message within a step: any command calls the step off.
    pub(super) fn recv(&mut self) -> Result<ToGuest, Interrupt> {
        let message = self.recv_any(self.line.patience.silence)?;
        self.within_step(message)
    }

    fn within_step(&mut self, message: ToGuest) -> Result<ToGuest, Interrupt> {
        match message {
            message @ (ToGuest::SlotFree { .. }
            | ToGuest::Filled { .. }
            | ToGuest::FilledZero { .. }
            | ToGuest::FetchFailed { .. }) => Ok(message),
            command => {
                self.line.called_off = Some(command);
                Err(Interrupt::CalledOff)
            }
        }
    }

    /// A message within a step that is there already.
    pub(super) fn try_recv(&mut self) -> Result<Option<ToGuest>, Interrupt> {
        match self.line.port.try_recv_from_host() {
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
            let (port, patience) = (&mut self.line.port, self.line.patience.silence);
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
        self.line.slots.next_step();
        let slot = loop {
            if let Some(slot) = self.line.slots.take() {
                break slot;
            }
            match self.recv()? {
                ToGuest::SlotFree { slot } => self.line.slots.copied(slot)?,
                ToGuest::FetchFailed { slot } => self.line.slots.unfilled(slot)?,
                ToGuest::Filled { slot, .. } | ToGuest::FilledZero { slot, .. } => {
                    break self.line.slots.filled(slot)?;
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
        self.line.slots.sent(&slot);
        self.send(message)
    }

    pub(super) fn payload(&self, slot: &Slot) -> SharedBytes<'_> {
        self.line.slots.check(slot);
        let port = &self.line.port;
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
