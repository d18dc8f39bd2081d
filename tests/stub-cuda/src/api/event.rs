//! Events.

use std::ffi::c_uint;

use crate::abi::*;
use crate::call::{Default, entry_points};
use crate::capture::{self, Place};
use crate::context;
use crate::event::{self, EVENTS, Event, Recorded};
use crate::ffi::put;
use crate::lock::lock;
use crate::work::Work;

fn record(default: Default, event: Handle, stream: Handle) -> Outcome<()> {
    let (context, stream) = context::of_stream(default, stream)?;
    let event = event::get(event)?;
    if event.context != stream.context {
        return Err(CUDA_ERROR_INVALID_HANDLE);
    }
    if capture::is_legacy_forbidden(stream.handle == CU_STREAM_LEGACY, context.handle) {
        return Err(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    }
    if let Some(joined) = &*lock(&stream.capture) {
        joined.capture.check()?;
        *lock(&event.recorded) = Recorded::Captured(joined.clone());
        return Ok(());
    }
    let fence = context.submit(&stream, Vec::new(), Work::Nothing);
    *lock(&event.recorded) = Recorded::On(fence);
    Ok(())
}

fn elapsed(milliseconds: *mut f32, start: Handle, end: Handle) -> Outcome<()> {
    let (start, end) = (event::get(start)?, event::get(end)?);
    if !start.has_timing() || !end.has_timing() || start.context != end.context {
        return Err(CUDA_ERROR_INVALID_HANDLE);
    }
    let fence = |event: &Event| event.fence()?.ok_or(CUDA_ERROR_INVALID_HANDLE);
    let (from, to) = (fence(&start)?, fence(&end)?);
    let (Some(from), Some(to)) = (from.done(), to.done()) else {
        return Err(CUDA_ERROR_NOT_READY);
    };
    let time = match to >= from {
        true => (to - from).as_secs_f64(),
        false => -(from - to).as_secs_f64(),
    };
    put(milliseconds, (time * 1000.0) as f32)
}

fn wait(default: Default, stream: Handle, event: Handle) -> Outcome<()> {
    let (context, stream) = context::of_stream(default, stream)?;
    let event = event::get(event)?;
    let recorded = lock(&event.recorded).clone();
    let mut joined = lock(&stream.capture);
    match (recorded, &mut *joined) {
        (Recorded::Captured(place), Some(joined)) => {
            if place.capture.id != joined.capture.id {
                return Err(CUDA_ERROR_STREAM_CAPTURE_MERGE);
            }
            for node in place.after {
                if !joined.after.contains(&node) {
                    joined.after.push(node);
                }
            }
        }
        (Recorded::Captured(place), none) => {
            if stream.handle == CU_STREAM_LEGACY {
                return Err(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
            }
            let Place { capture, after } = place;
            *none = Some(Place { capture, after });
        }
        (Recorded::On(_), Some(joined)) => {
            joined.capture.invalidate();
            return Err(CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
        }
        (Recorded::On(fence), None) => {
            drop(joined);
            context.submit(&stream, vec![fence], Work::Nothing);
        }
        (Recorded::Never, _) => {}
    }
    Ok(())
}

entry_points! {
    fn cuEventCreate(out: *mut Handle, flags: c_uint) {
        let context = context::current()?;
        let is_wrong = flags & !7 != 0 || flags & CU_EVENT_INTERPROCESS != 0 && flags & CU_EVENT_DISABLE_TIMING == 0;
        if out.is_null() || is_wrong {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        put(out, Event::create(context.handle, flags, context.fault.clone()))
    }

    fn cuEventDestroy(event: Handle) {
        EVENTS.remove(event).map(drop).ok_or(CUDA_ERROR_INVALID_HANDLE)
    }

    fn cuEventDestroy_v2(event: Handle) {
        EVENTS.remove(event).map(drop).ok_or(CUDA_ERROR_INVALID_HANDLE)
    }

    fn cuEventRecord | cuEventRecord_ptsz (event: Handle, stream: Handle) |default| {
        record(default, event, stream)
    }

    fn cuEventRecordWithFlags | cuEventRecordWithFlags_ptsz (event: Handle, stream: Handle, flags: c_uint) |default| {
        match flags {
            0 | 1 => record(default, event, stream),
            _ => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }

    fn cuEventQuery(event: Handle) {
        let event = event::get(event)?;
        event.fault.check()?;
        match event.fence()? {
            Some(fence) if fence.done().is_none() => Err(CUDA_ERROR_NOT_READY),
            _ => event.fault.check(),
        }
    }

    fn cuEventSynchronize(event: Handle) {
        let event = event::get(event)?;
        event.fault.check()?;
        if let Some(fence) = event.fence()? {
            fence.wait();
        }
        event.fault.check()
    }

    fn cuEventElapsedTime(milliseconds: *mut f32, start: Handle, end: Handle) {
        elapsed(milliseconds, start, end)
    }

    fn cuEventElapsedTime_v2(milliseconds: *mut f32, start: Handle, end: Handle) {
        elapsed(milliseconds, start, end)
    }

    fn cuStreamWaitEvent | cuStreamWaitEvent_ptsz (stream: Handle, event: Handle, flags: c_uint) |default| {
        match flags {
            0 | 1 => wait(default, stream, event),
            _ => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }
}
