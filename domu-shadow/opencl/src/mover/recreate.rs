//! Releasing every object of the drivers, and making it again.

use opencl_sys::cl_int;
use runtime::mover::MoveError;
use runtime::phase_timer::PhaseTimer;

use super::error::driver;
use super::matching;
use crate::core::command::deferred_recreate;
use crate::core::command_buffer::CommandBuffer;
use crate::core::context::Context;
use crate::core::event::Event;
use crate::core::handle;
use crate::core::inventory;
use crate::core::kernel::Kernel;
use crate::core::mem::Mem;
use crate::core::program::Program;
use crate::core::queue::Queue;
use crate::core::retired_queues;
use crate::core::sampler::Sampler;
use crate::core::sub_devices;
use crate::core::svm;
use crate::driver::workers;

/// Children before their parents, as drivers expect it; `release_ours` what a capture has, when no memory object is left.
pub(super) fn release_all(timer: &mut PhaseTimer, release_ours: impl FnOnce()) {
    retired_queues::end();
    deferred_recreate::release_driver();
    handle::all::<Event>()
        .iter()
        .for_each(|event| event.release_driver());
    handle::all::<CommandBuffer>()
        .iter()
        .for_each(|buffer| buffer.release_driver());
    handle::all::<Kernel>()
        .iter()
        .for_each(|kernel| kernel.release_driver());
    handle::all::<Program>()
        .iter()
        .for_each(|program| program.release_driver());
    handle::all::<Sampler>()
        .iter()
        .for_each(|sampler| sampler.release_driver());
    timer.lap("events, command buffers, kernels, programs, samplers");
    // What is made from another object is younger than that.
    handle::all::<Mem>()
        .iter()
        .rev()
        .for_each(|mem| mem.release_driver());
    timer.lap("memory objects");
    release_ours();
    let queues = handle::all::<Queue>();
    queues
        .iter()
        .for_each(|queue| workers::outlast(queue.real.get()));
    queues.iter().for_each(|queue| queue.release_driver());
    timer.lap("queues");
    handle::all::<Context>()
        .iter()
        .for_each(|context| context.release_driver());
    sub_devices::release_driver_all();
    timer.lap("contexts");
    for platform in inventory::known_platforms() {
        let devices = inventory::root_devices(platform);
        devices
            .iter()
            .for_each(|device| device.real.set(std::ptr::null_mut()));
        platform.real.set(std::ptr::null_mut());
    }
}

/// Parents before their children, oldest first.
pub(super) fn make_all(timer: &mut PhaseTimer) -> Result<(), MoveError> {
    matching::load()?;
    timer.lap("libraries, devices");
    sub_devices::recreate_all().map_err(driver("making a sub-device again"))?;
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
        |context| context.recreate(),
    )?;
    timer.lap("contexts");
    svm::check().map_err(driver("shared virtual memory"))?;
    each(
        "making a command queue again",
        &handle::all::<Queue>(),
        |queue| queue.recreate(),
    )?;
    timer.lap("queues");
    each(
        "making a memory object again",
        &handle::all::<Mem>(),
        |mem| mem.recreate(),
    )?;
    timer.lap("memory objects");
    each(
        "making a sampler again",
        &handle::all::<Sampler>(),
        |sampler| sampler.recreate(),
    )?;
    each(
        "making a program again",
        &handle::all::<Program>(),
        |program| program.recreate(),
    )?;
    timer.lap("samplers, programs");
    each(
        "making a kernel again",
        &handle::all::<Kernel>(),
        |kernel| kernel.recreate(),
    )?;
    each(
        "recording a command buffer again",
        &handle::all::<CommandBuffer>(),
        |buffer| buffer.recreate(),
    )?;
    each(
        "making a user event again",
        &handle::all::<Event>(),
        |event| event.recreate(),
    )?;
    timer.lap("kernels, command buffers, events");
    deferred_recreate::recreate().map_err(driver("enqueueing a held command again"))
}
