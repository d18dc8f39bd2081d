//! Deferred commands in a move: they end unrun with the driver that goes, and are enqueued again with the one that comes.

use std::time::{Duration, Instant};

use opencl_sys::{
    CL_COMPLETE, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_FALSE, CL_OUT_OF_RESOURCES,
    cl_event,
};

use super::deferred_commands::{Order, has_failed, log};
use super::place::Place;
use super::wait_list::Ended;
use crate::CLResult;
use crate::core::event::Event;
use crate::core::handle;
use crate::core::queue::Queue;
use crate::driver::dispatch::{pointer, status};
use crate::driver::query;

/// How long a driver may take to end the commands that it will never run.
const GIVING_UP: Duration = Duration::from_secs(10);

fn flush(queue: &Queue) -> CLResult<()> {
    let real = queue.real.get();
    status!(real, clFlush(real))
}

/// Before the drivers go: their user events fail, which ends the commands behind them unrun. Should a driver run some
/// all the same, the contents are captured already, and what they write to host memory comes again.
pub fn release_driver() {
    let queues = handle::all::<Queue>();
    queues.iter().for_each(|queue| queue.in_flight.clear());
    let log = log();
    if log.entries.is_empty() {
        return;
    }
    for event in handle::all::<Event>() {
        event.end_user_event(CL_OUT_OF_RESOURCES);
    }
    for event in log.entries.iter().flat_map(|entry| &entry.waits) {
        event.end_user_event(CL_OUT_OF_RESOURCES);
    }
    // Some drivers end nothing that they were not told to begin.
    if let Err(code) = log.queues_in_order().try_for_each(flush) {
        log::warn!("a command queue was not flushed: OpenCL error {code}");
    }
    let deadline = Instant::now() + GIVING_UP;
    for entry in &log.entries {
        let Some(event) = &entry.event else { continue };
        let real = event.real.get();
        while query::event_status(real).is_ok_and(|status| status > CL_COMPLETE) {
            if Instant::now() > deadline {
                log::warn!("a driver does not end a command whose user event has failed");
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        event.release_driver();
    }
}

/// After all objects have been made again: enqueues everything as it was.
///
/// # Errors
/// The driver's.
pub fn recreate() -> CLResult<()> {
    let log = log();
    for event in log.entries.iter().flat_map(|entry| &entry.waits) {
        // Only the log may know it any more.
        event.recreate()?;
    }
    for entry in &log.entries {
        if entry.waits.iter().any(|event| has_failed(event)) {
            return Err(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
        }
        let waits = entry.waits.iter().map(|event| event.real.get());
        let mut waits: Vec<cl_event> = waits.filter(|event| !event.is_null()).collect();
        let mut ended = None;
        if waits.is_empty() && !entry.waits.is_empty() && entry.order != Order::Free {
            waits.push(ended.insert(Ended::new(&entry.queue)?).event());
        }
        let mut real = std::ptr::null_mut();
        let place = Place {
            queue: entry.queue.real.get(),
            blocking: CL_FALSE,
            count: waits.len() as u32,
            list: pointer(&waits),
            event: &raw mut real,
        };
        entry.command.enqueue(&place)?;
        if let Some(event) = &entry.event {
            event.real.set(real);
        }
    }
    // The program had them flushed, perhaps.
    log.queues_in_order().try_for_each(flush)
}
