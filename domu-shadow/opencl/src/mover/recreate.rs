//! Releasing every object of the drivers, and making it again.

use opencl_sys::cl_int;
use runtime::mover::MoveError;
use runtime::phase_timer::PhaseTimer;

use super::error::driver;
use super::matching;
use crate::core::command_buffer::CommandBuffer;
use crate::core::context::Context;
use crate::core::event::Event;
use crate::core::handle;
use crate::core::held;
use crate::core::inventory;
use crate::core::kernel::Kernel;
use crate::core::mem::Mem;
use crate::core::program::Program;
use crate::core::queue::Queue;
use crate::core::retired;
use crate::core::sampler::Sampler;
use crate::core::sub_devices;
use crate::core::svm;
use crate::driver::workers;

/// Children before their parents, as drivers expect it; `release_ours` what a capture has, when no memory object is left.
pub(super) fn release_all(timer: &mut PhaseTimer, release_ours: impl FnOnce()) {
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
    timer.lap("events, command buffers, kernels, programs, samplers");
    // What is made from another object is younger than that.
    handle::all::<Mem>()
        .iter()
        .rev()
        .for_each(|mem| mem.unmake());
    timer.lap("memory objects");
    release_ours();
    let queues = handle::all::<Queue>();
    queues
        .iter()
        .for_each(|queue| workers::outlast(queue.real.get()));
    queues.iter().for_each(|queue| queue.unmake());
    timer.lap("queues");
    handle::all::<Context>()
        .iter()
        .for_each(|context| context.unmake());
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
        |context| context.make(),
    )?;
    timer.lap("contexts");
    svm::check().map_err(driver("shared virtual memory"))?;
    each(
        "making a command queue again",
        &handle::all::<Queue>(),
        |queue| queue.make(),
    )?;
    timer.lap("queues");
    each(
        "making a memory object again",
        &handle::all::<Mem>(),
        |mem| {
            mem.make(std::ptr::null_mut())?;
            mem.lend_again();
            Ok(())
        },
    )?;
    timer.lap("memory objects");
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
    timer.lap("samplers, programs");
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
    timer.lap("kernels, command buffers, events");
    held::enqueue_again().map_err(driver("enqueueing a held command again"))
}
