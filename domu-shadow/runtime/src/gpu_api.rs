//! What a GPU API gives a move, and which APIs there are.
//!
//! A move goes through all of them as one ([`crate::mover`]): one gate is closed, every API comes to rest, and so on. What cannot be
//! done for one is undone for all.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use channel::BoxError;
use channel::guest::{StepError, Whole};
use channel::image::Api;
use channel::link::LeftToDriver;
use channel::memory::SharedPages;

use crate::delta::sink::Sink;
use crate::gate::Draining;
use crate::locks::Held;
use crate::mover::error::MoveError;
use crate::mover::memory::HostBytes;
use crate::mover::round::{Program, Round, Sent};
use crate::mover::summary::Summary;
use crate::mover::transfer::Pending;
use crate::phase_timer::PhaseTimer;
use crate::residency::Resident;

/// One GPU API of this process.
pub trait GpuApi: Send + Sync {
    /// Which one, as its objects' ids say.
    fn api(&self) -> Api;

    /// Called once, before any call passes the gate.
    fn prepare(&self);

    /// The locks that its calls may take and that are no object's own, for a fork; `None` where another thread has one. In a call
    /// those are left alone that the thread may have while it is with the driver.
    fn hold_locks(&'static self, in_call: bool) -> Option<Held>;

    /// Why the process cannot be moved, if so.
    fn blocked(&self) -> Option<String>;

    /// Adds what it has.
    fn summarize(&self, summary: &mut Summary);

    /// What it leaves to its driver's own checkpoint now, where it moves by one: what is mapped, counted or known here, no driver is
    /// asked. Called every few seconds.
    fn left_to_driver(&self) -> LeftToDriver {
        LeftToDriver::default()
    }

    /// Starts a capture beside the program.
    ///
    /// # Errors
    /// The driver's.
    fn begin(&'static self) -> Result<Box<dyn ApiCapture>, MoveError>;
}

/// One API's part of a move, from the capture to the last byte that arrives. Dropping it ends the capture; the program notices
/// nothing.
pub trait ApiCapture: Rounds + Transfers + Stop {}

impl<T: Rounds + Transfers + Stop> ApiCapture for T {}

/// Finding what has to be sent.
pub trait Rounds: Send {
    /// Makes ready to compare on the device.
    fn compare(&mut self);

    /// Fetches what the stop and the way back will need, while `go_on` says so.
    fn prepare(&mut self, go_on: &dyn Fn() -> bool);

    /// Adds to `round` what has to be sent now. While the program waits nothing can be left for the next.
    fn round(&mut self, program: Program, round: &mut Round);

    /// Sends what changed in what `round` names to be compared.
    ///
    /// # Errors
    /// The sink's.
    fn send_changed(
        &mut self,
        round: &Round,
        program: Program,
        sink: &mut dyn Sink,
        sent: &mut Sent,
    ) -> Result<(), MoveError>;

    /// What was sent so far counts as lost.
    fn start_over(&mut self);

    /// Bytes that the next round would send now. `alive` is called now and then.
    ///
    /// # Errors
    /// What `alive` said.
    fn dirty_bytes(
        &mut self,
        alive: &mut dyn FnMut() -> Result<(), StepError>,
    ) -> Result<u64, MoveError>;

    /// Bytes of objects that are not compared, and why some of them are not.
    fn whole(&self) -> (u64, Whole);
}

/// Reading and writing contents. Errors: `Gone` where the program has released the object, `OutOfRange`, the driver's.
pub trait Transfers: Send {
    /// All objects whose contents move: id and size in bytes.
    fn objects(&self) -> Vec<(u64, u64)>;

    /// Has the driver pin the link's pages, for transfers at the bus's rate; where it refuses, transfers are slower. `None`: the
    /// link is gone, no page of it stays pinned, and no transfer is under way.
    fn pin(&mut self, pages: Option<&SharedPages>);

    /// Starts to read `to.len()` bytes of an object, from `offset` on.
    ///
    /// # Safety
    /// The memory stays valid until the answer is dropped.
    unsafe fn start_read(
        &self,
        object: u64,
        offset: u64,
        to: &dyn HostBytes,
    ) -> Result<Box<dyn Pending>, MoveError>;

    /// Starts to write `from.len()` bytes of an object, from `offset` on.
    ///
    /// # Safety
    /// The memory stays valid until the answer is dropped.
    unsafe fn start_write(
        &self,
        object: u64,
        offset: u64,
        from: &dyn HostBytes,
    ) -> Result<Box<dyn Pending>, MoveError>;

    /// Starts to write zeros.
    fn start_zero(&self, object: u64, offset: u64, len: u64)
    -> Result<Box<dyn Pending>, MoveError>;
}

/// Bringing the API to rest, taking the driver away, and bringing it back.
pub trait Stop: Send {
    /// Waits until nothing of the program's runs. To be called again where [`Stop::settle`] says so.
    ///
    /// # Errors
    /// Why it does not come to rest. What was done is undone.
    fn quiesce(&mut self, gate: &Draining, deadline: Instant) -> Result<(), BoxError>;

    /// The gate is closed. False if something has begun to run since `quiesce`: the gate must drain once more.
    ///
    /// # Errors
    /// Why the API is not at rest.
    fn settle(&mut self, deadline: Instant) -> Result<bool, BoxError>;

    /// Undoes `quiesce`, before the gate opens. Not called after a release.
    fn resume(&mut self) {}

    /// Releases all that the driver has. Its contents are only where they were sent from here on. What could not be released, to be
    /// said: while there is any, the GPU cannot be taken away.
    fn release_driver(&mut self, timer: &mut PhaseTimer) -> Vec<String>;

    /// After the release of all APIs' drivers, their libraries being closed: takes what is left of the driver's off the GPU, where that is
    /// done by a driver that stays loaded. What was not, to be said.
    fn leave_device(&mut self, _timer: &mut PhaseTimer) -> Vec<String> {
        Vec::new()
    }

    /// After all that: what the process still holds of the GPU that this API's driver should have given up.
    fn held(&self) -> Vec<String> {
        Vec::new()
    }

    /// Before `recreate` of any API: undoes `leave_device`. Where it fails, [`Stop::release_driver`] follows.
    ///
    /// # Errors
    /// `NoDevice`, the driver's.
    fn return_to_device(&mut self, _timer: &mut PhaseTimer) -> Result<(), MoveError> {
        Ok(())
    }

    /// Loads the driver and makes every object again. Where it fails, [`Stop::release_driver`] follows.
    ///
    /// # Errors
    /// `NoDevice`, the driver's.
    fn recreate(&mut self, timer: &mut PhaseTimer) -> Result<(), MoveError>;

    /// After `recreate`: the objects whose contents have to come now.
    fn awaited(&mut self) -> Vec<Arc<dyn Resident>>;
}

/// More than there are in the world.
static ALL: [OnceLock<&'static dyn GpuApi>; 4] = [const { OnceLock::new() }; 4];

/// Adds an API, while the library is loaded.
///
/// # Panics
/// At the fifth.
pub fn register(api: &'static dyn GpuApi) {
    let is_added = ALL.iter().any(|place| place.set(api).is_ok());
    assert!(is_added, "too many GPU APIs");
}

/// All APIs, in the order in which they were registered.
pub fn all() -> impl Iterator<Item = &'static dyn GpuApi> {
    ALL.iter().map_while(|place| place.get().copied())
}

/// Their names, for messages.
pub fn names() -> String {
    let names: Vec<String> = all().map(|api| api.api().to_string()).collect();
    names.join(" and ")
}
