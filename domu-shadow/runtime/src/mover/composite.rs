//! All APIs of the process as one: what is done goes through them in order, what is undone in the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use channel::BoxError;
use channel::image::{Api, ObjectId};

use crate::callbacks;
use crate::gate::{Closed, Draining};
use crate::gpu_api::{self, ApiCapture};
use crate::phase_timer::PhaseTimer;
use crate::poll::by_deadline;
use crate::residency::Resident;
use crate::vendor::unload::{self, Holders};

use super::error::MoveError;

struct Part {
    api: Api,
    capture: Box<dyn ApiCapture>,
}

/// One capture of each API.
pub(super) struct Composite(Vec<Part>);

impl Composite {
    /// # Errors
    /// The first API's that cannot; those before have ended again.
    pub(super) fn begin() -> Result<Composite, MoveError> {
        let mut parts = Composite(Vec::new());
        for api in gpu_api::all() {
            let (capture, api) = (api.begin()?, api.api());
            parts.0.push(Part { api, capture });
        }
        Ok(parts)
    }

    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &dyn ApiCapture> {
        self.0.iter().map(|part| &*part.capture)
    }

    pub(super) fn all_mut(
        &mut self,
    ) -> impl DoubleEndedIterator<Item = &mut (dyn ApiCapture + 'static)> {
        self.0.iter_mut().map(|part| &mut *part.capture)
    }

    /// The API that an object belongs to.
    ///
    /// # Errors
    /// `Gone` where there is no such API.
    pub(super) fn of(&self, object: u64) -> Result<&dyn ApiCapture, MoveError> {
        let api = ObjectId::from(object).api();
        let part = self.0.iter().find(|part| part.api == api);
        Ok(&*part.ok_or(MoveError::Gone(object))?.capture)
    }

    /// Brings every API to rest and closes the gate.
    ///
    /// # Errors
    /// Why one does not come to rest: all go on then, and the gate is open.
    pub(super) fn quiesce(
        &mut self,
        mut gate: Draining,
        deadline: Instant,
    ) -> Result<Closed, BoxError> {
        let mut at_rest = 0;
        loop {
            self.quiesce_each(&mut at_rest, &gate, deadline)?;
            let closed = match close(gate, deadline) {
                Ok(closed) => closed,
                Err((_still_draining, why)) => {
                    self.resume();
                    return Err(why.into());
                }
            };
            let settled = self.all_mut().map(|part| part.settle(deadline));
            match settled.collect::<Result<Vec<bool>, _>>() {
                Ok(settled) if settled.iter().all(|settled| *settled) => return Ok(closed),
                // The program has let commands go meanwhile, and they may be running.
                Ok(_) => gate = closed.drain(),
                Err(why) => {
                    self.resume();
                    return Err(why);
                }
            }
        }
    }

    /// Brings all to rest, of which the first `at_rest` have been before; where one fails, the others that are resume.
    fn quiesce_each(
        &mut self,
        at_rest: &mut usize,
        gate: &Draining,
        deadline: Instant,
    ) -> Result<(), BoxError> {
        for at in 0..self.0.len() {
            if let Err(why) = self.0[at].capture.quiesce(gate, deadline) {
                let others = self.0[..*at_rest].iter_mut().enumerate().rev();
                let others = others.filter(|(other, _)| *other != at);
                others.for_each(|(_, part)| part.capture.resume());
                return Err(why);
            }
            *at_rest = (*at_rest).max(at + 1);
        }
        Ok(())
    }

    /// All go on.
    pub(super) fn resume(&mut self) {
        self.all_mut().rev().for_each(|part| part.resume());
    }

    /// Releases all drivers and unloads them.
    pub(super) fn release_driver(&mut self) -> Holders {
        let mut timer = PhaseTimer::new("unloading");
        let parts = self.all_mut().rev();
        let held: Vec<_> = parts
            .flat_map(|part| part.release_driver(&mut timer))
            .collect();
        let leave = |timer: &mut PhaseTimer| {
            let parts = self.all_mut().rev();
            parts.flat_map(|part| part.leave_device(timer)).collect()
        };
        let mut holders = unload::unload(&mut timer, leave);
        holders.devices.extend(held);
        holders
            .devices
            .extend(self.all().flat_map(|part| part.held()));
        holders.devices.sort_unstable();
        holders.devices.dedup();
        holders
    }

    /// Makes the objects of all APIs again.
    ///
    /// # Errors
    /// The first one's; all have to be released then.
    pub(super) fn recreate(&mut self) -> Result<(), MoveError> {
        let mut timer = PhaseTimer::new("loading again");
        self.all_mut()
            .try_for_each(|part| part.return_to_device(&mut timer))?;
        self.all_mut()
            .try_for_each(|part| part.recreate(&mut timer))
    }

    /// The objects of all APIs whose contents have to come.
    pub(super) fn awaited(&mut self) -> Vec<Arc<dyn Resident>> {
        self.all_mut().flat_map(|part| part.awaited()).collect()
    }
}

/// Why the gate does not close, although every API is at rest.
#[derive(Debug, thiserror::Error)]
enum NotClosed {
    #[error("the driver owes {0} event callback(s)")]
    Owed(usize),
    #[error("{0} thread(s) inside calls")]
    Inside(usize),
}

/// Calls that look in at the gate, or release something, are inside for a moment even now.
fn close(mut gate: Draining, deadline: Instant) -> Result<Closed, (Draining, NotClosed)> {
    if !by_deadline(deadline, || callbacks::owed() == 0) {
        return Err((gate, NotClosed::Owed(callbacks::owed())));
    }
    loop {
        match gate.close() {
            Ok(closed) => return Ok(closed),
            Err(again) if Instant::now() < deadline => gate = again,
            Err(again) => {
                let inside = again.inside();
                return Err((again, NotClosed::Inside(inside)));
            }
        }
        std::thread::sleep(Duration::from_micros(20));
    }
}
