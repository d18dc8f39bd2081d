//! Without a driver: releasing everything, and making it again.

use opencl_sys::cl_int;

use super::arriving::{Arriving, Blackout};
use super::capture::Capture;
use super::error::driver;
use super::way_back::WayBack;
use super::{MoveError, matching};
use crate::core::command_buffer::CommandBuffer;
use crate::core::context::Context;
use crate::core::event::Event;
use crate::core::handle;
use crate::core::held;
use crate::core::kernel::Kernel;
use crate::core::mem::Mem;
use crate::core::partition;
use crate::core::platform;
use crate::core::program::Program;
use crate::core::queue::Queue;
use crate::core::retired;
use crate::core::sampler::Sampler;
use crate::core::svm;
use crate::driver::unload::{self, Holders};
use crate::driver::workers;
use crate::gate::Closed;
use crate::laps::Laps;

/// No object of a driver exists and the drivers are unloaded. The contents of the buffers are only where the capture
/// sent them: dropping this value would open the gate to a program whose GPU state is gone.
pub struct Detached {
    closed: Closed,
    capture: Capture,
    way_back: Box<WayBack>,
    since: u64,
    holders: Box<Holders>,
}

pub(super) fn unload(
    closed: Closed,
    mut capture: Capture,
    mut way_back: Box<WayBack>,
    since: u64,
) -> Detached {
    let holders = way_back.while_unloading(|| release_and_unload(&mut capture));
    for library in &holders.libraries {
        log::info!("still loaded: {library}");
    }
    for device in &holders.devices {
        log::warn!("still held: {device}");
    }
    Detached {
        closed,
        capture,
        way_back,
        since,
        holders: Box::new(holders),
    }
}

fn release_and_unload(capture: &mut Capture) -> Holders {
    let mut laps = Laps::new("unloading");
    release_all(capture, &mut laps);
    for platform in platform::known() {
        platform
            .devices()
            .iter()
            .for_each(|device| device.real.set(std::ptr::null_mut()));
        platform.real.set(std::ptr::null_mut());
    }
    unload::unload(&mut laps)
}

/// Children before their parents, as drivers expect it.
fn release_all(capture: &mut Capture, laps: &mut Laps) {
    retired::end();
    held::give_up();
    handle::all::<Event>()
        .iter()
        .for_each(|event| event.unmake());
    handle::all::<CommandBuffer>()
        .iter()
        .for_each(|buffer| buffer.unmake());
    handle::all::<Kernel>()
        .iter()
        .for_each(|kernel| kernel.unmake());
    handle::all::<Program>()
        .iter()
        .for_each(|program| program.unmake());
    handle::all::<Sampler>()
        .iter()
        .for_each(|sampler| sampler.unmake());
    laps.lap("events, command buffers, kernels, programs, samplers");
    // What is made from another object is younger than that.
    handle::all::<Mem>()
        .iter()
        .rev()
        .for_each(|mem| mem.unmake());
    laps.lap("memory objects");
    capture.release();
    let queues = handle::all::<Queue>();
    queues
        .iter()
        .for_each(|queue| workers::outlast(queue.real.get()));
    queues.iter().for_each(|queue| queue.unmake());
    laps.lap("queues");
    handle::all::<Context>()
        .iter()
        .for_each(|context| context.unmake());
    partition::unmake_all();
    laps.lap("contexts");
}

/// Parents before their children, oldest first.
fn make_all(laps: &mut Laps) -> Result<(), MoveError> {
    partition::make_all().map_err(driver("making a sub-device again"))?;
    fn each<T>(
        what: &'static str,
        objects: &[T],
        make: impl Fn(&T) -> Result<(), cl_int>,
    ) -> Result<(), MoveError> {
        objects.iter().try_for_each(make).map_err(driver(what))
    }
    each(
        "making a context again",
        &handle::all::<Context>(),
        |context| context.make(),
    )?;
    laps.lap("contexts");
    svm::check().map_err(driver("shared virtual memory"))?;
    each(
        "making a command queue again",
        &handle::all::<Queue>(),
        |queue| queue.make(),
    )?;
    laps.lap("queues");
    each(
        "making a memory object again",
        &handle::all::<Mem>(),
        |mem| {
            mem.make(std::ptr::null_mut())?;
            mem.lend_again();
            Ok(())
        },
    )?;
    laps.lap("memory objects");
    each(
        "making a sampler again",
        &handle::all::<Sampler>(),
        |sampler| sampler.make(),
    )?;
    each(
        "making a program again",
        &handle::all::<Program>(),
        |program| program.make(),
    )?;
    laps.lap("samplers, programs");
    each(
        "making a kernel again",
        &handle::all::<Kernel>(),
        |kernel| kernel.make(),
    )?;
    each(
        "recording a command buffer again",
        &handle::all::<CommandBuffer>(),
        |buffer| buffer.make(),
    )?;
    each(
        "making a user event again",
        &handle::all::<Event>(),
        |event| event.remake(),
    )?;
    laps.lap("kernels, command buffers, events");
    held::enqueue_again().map_err(driver("enqueueing a held command again"))
}

impl Detached {
    /// When the gate closed, `CLOCK_BOOTTIME` ns.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// Libraries that stay loaded, with the reason. Harmless where no device is held.
    pub fn libraries_held(&self) -> &[String] {
        &self.holders.libraries
    }

    /// Device nodes that the process still holds: while there are any, the GPU can't be taken away.
    pub fn devices_held(&self) -> &[String] {
        &self.holders.devices
    }

    /// A link to dom0 is about to be opened: what was kept for that is free.
    pub fn make_room_for_link(&mut self) {
        self.way_back.make_room_for_link();
    }

    /// Loads the drivers, makes every object again, on devices like those before, and opens the gate: the contents
    /// have to come now.
    ///
    /// # Errors
    /// `NoDevice`, or the driver's. Everything is released again, and it can be tried later.
    pub fn reload(mut self) -> Result<(Arriving, Blackout), (Detached, MoveError)> {
        self.way_back.make_room_for_driver();
        let mut laps = Laps::new("loading again");
        let made = matching::load().and_then(|()| {
            laps.lap("libraries, devices");
            make_all(&mut laps)
        });
        let Detached {
            closed,
            capture,
            way_back,
            since,
            ..
        } = self;
        match made {
            Ok(()) => Ok(Arriving::open(closed, capture, since)),
            Err(error) => Err((unload(closed, capture, way_back, since), error)),
        }
    }
}
