//! Releasing every object of the drivers, and making it again.

use runtime::mover::MoveError;
use runtime::phase_timer::PhaseTimer;

use super::error::driver;
use super::matching;
use crate::CLResult;
use crate::core::command::deferred_recreate;
use crate::core::{
    CommandBuffer, Context, Device, Event, Kernel, Mem, Object, Program, Queue, Sampler, handle,
    inventory, retired_queues, sub_devices, svm,
};
use crate::driver::workers;

/// Releases the driver's objects of one kind.
fn release<T: Object>(release_driver: impl Fn(&T)) {
    let objects = handle::all::<T>();
    objects.iter().for_each(|object| release_driver(object));
}

/// The same for kinds of which one is made from another, which is older.
fn release_youngest_first<T: Object>(release_driver: impl Fn(&T)) {
    let objects = handle::all::<T>();
    objects
        .iter()
        .rev()
        .for_each(|object| release_driver(object));
}

/// Makes those of one kind again, the oldest first.
fn recreate<T: Object>(
    doing: &'static str,
    recreate: impl Fn(&T) -> CLResult<()>,
) -> Result<(), MoveError> {
    let objects = handle::all::<T>();
    let mut objects = objects.iter();
    objects
        .try_for_each(|object| recreate(object))
        .map_err(driver(doing))
}

/// Children before their parents, as drivers expect it; `release_ours` what a capture has, when no memory object is left.
pub(super) fn release_all(timer: &mut PhaseTimer, release_ours: impl FnOnce()) {
    retired_queues::end();
    deferred_recreate::release_driver();
    release(Event::release_driver);
    release(CommandBuffer::release_driver);
    release(Kernel::release_driver);
    release(Program::release_driver);
    release(Sampler::release_driver);
    timer.lap("events, command buffers, kernels, programs, samplers");
    release_youngest_first(Mem::release_driver);
    timer.lap("memory objects");
    release_ours();
    release(|queue: &Queue| workers::outlast(queue.real.get()));
    release(Queue::release_driver);
    timer.lap("queues");
    release(Context::release_driver);
    release_youngest_first(Device::release_driver);
    timer.lap("contexts");
    for platform in inventory::known_platforms() {
        let devices = inventory::root_devices(platform);
        let nothing = std::ptr::null_mut();
        devices.iter().for_each(|device| device.real.set(nothing));
        platform.real.set(nothing);
    }
}

/// Parents before their children. Nothing, and no driver loaded, where the program knows no platform: it may use CUDA alone.
pub(super) fn recreate_all(timer: &mut PhaseTimer) -> Result<(), MoveError> {
    if inventory::known_platforms().is_empty() {
        return Ok(());
    }
    matching::load()?;
    timer.lap("libraries, devices");
    sub_devices::recreate().map_err(driver("making a sub-device again"))?;
    recreate("making a context again", Context::recreate)?;
    timer.lap("contexts");
    svm::check().map_err(driver("shared virtual memory"))?;
    recreate("making a command queue again", Queue::recreate)?;
    timer.lap("queues");
    recreate("making a memory object again", Mem::recreate)?;
    timer.lap("memory objects");
    recreate("making a sampler again", Sampler::recreate)?;
    recreate("making a program again", Program::recreate)?;
    timer.lap("samplers, programs");
    recreate("making a kernel again", Kernel::recreate)?;
    recreate("recording a command buffer again", CommandBuffer::recreate)?;
    recreate("making a user event again", Event::recreate)?;
    timer.lap("kernels, command buffers, events");
    deferred_recreate::recreate().map_err(driver("enqueueing a deferred command again"))
}
