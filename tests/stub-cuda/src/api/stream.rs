//! Streams, functions of the program in them, and values that they wait for and write.

use std::ffi::{c_int, c_uint, c_ulonglong, c_void};

use crate::abi::*;
use crate::call::{Default, entry_points};
use crate::capture;
use crate::context;
use crate::ffi::{list, put, put_if};
use crate::lock::lock;
use crate::stream::{STREAMS, Stream};
use crate::work::{Data, Work};

const GREATEST_PRIORITY: c_int = -5;

fn create(out: *mut Handle, flags: c_uint, priority: c_int) -> Outcome<()> {
    let context = context::current()?;
    if out.is_null() || flags & !CU_STREAM_NON_BLOCKING != 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let place = (context.handle, context.device);
    let priority = priority.clamp(GREATEST_PRIORITY, 0);
    put(
        out,
        Stream::create(place, context.fault.clone(), flags, priority).handle,
    )
}

fn destroy(handle: Handle) -> Outcome<()> {
    context::current()?;
    let stream = STREAMS.get(handle).ok_or(CUDA_ERROR_INVALID_HANDLE)?;
    if let Some(joined) = &*lock(&stream.capture) {
        joined.capture.invalidate();
    }
    stream.destroy();
    Ok(())
}

fn enqueue(default: Default, stream: Handle, work: Work) -> Outcome<()> {
    let (context, stream) = context::of_stream(default, stream)?;
    context::enqueue(&context, &stream, work)
}

/// # Errors
/// `CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED` for a stream that is captured; the capture is invalid then.
fn not_captured(stream: &Stream) -> Outcome<()> {
    match &*lock(&stream.capture) {
        Some(joined) => {
            joined.capture.invalidate();
            Err(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
        }
        None => Ok(()),
    }
}

fn synchronize(default: Default, stream: Handle) -> Outcome<()> {
    let (context, stream) = context::of_stream(default, stream)?;
    not_captured(&stream)?;
    if capture::is_legacy_forbidden(stream.handle == CU_STREAM_LEGACY, context.handle) {
        return Err(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    }
    match stream.handle {
        CU_STREAM_LEGACY => context.submit(&stream, Vec::new(), Work::Nothing).wait(),
        _ => {
            if let Some(fence) = stream.last() {
                fence.wait();
            }
        }
    }
    context.fault.check()
}

fn query(default: Default, stream: Handle) -> Outcome<()> {
    let (context, stream) = context::of_stream(default, stream)?;
    not_captured(&stream)?;
    let is_busy = match stream.handle {
        CU_STREAM_LEGACY => {
            if capture::is_legacy_forbidden(true, context.handle) {
                return Err(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
            }
            let streams = context.streams().into_iter();
            streams
                .filter(|stream| stream.is_blocking())
                .any(|stream| stream.last().is_some())
        }
        _ => stream.last().is_some(),
    };
    match is_busy {
        true => Err(CUDA_ERROR_NOT_READY),
        false => context.fault.check(),
    }
}

fn waiting(address: CUdeviceptr, value: u64, is_wide: bool, flags: c_uint) -> Work {
    Work::Wait {
        address,
        value,
        is_wide,
        compare: flags & 3,
    }
}

fn writing(address: CUdeviceptr, value: u64, is_wide: bool) -> Work {
    Work::Write {
        address,
        value,
        is_wide,
    }
}

fn operations(count: c_uint, list_of: *const CUstreamMemOp) -> Outcome<Work> {
    let work = |one: CUstreamMemOp| match one.operation {
        1 => Ok(waiting(
            one.address,
            one.value & 0xffff_ffff,
            false,
            one.flags,
        )),
        2 => Ok(writing(one.address, one.value & 0xffff_ffff, false)),
        4 => Ok(waiting(one.address, one.value, true, one.flags)),
        5 => Ok(writing(one.address, one.value, true)),
        3 | 6 => Ok(Work::Nothing),
        _ => Err(CUDA_ERROR_INVALID_VALUE),
    };
    let list = list(list_of, count as usize)?;
    Ok(Work::All(
        list.into_iter().map(work).collect::<Outcome<_>>()?,
    ))
}

entry_points! {
    fn cuStreamCreate(out: *mut Handle, flags: c_uint) {
        create(out, flags, 0)
    }

    fn cuStreamCreateWithPriority(out: *mut Handle, flags: c_uint, priority: c_int) {
        create(out, flags, priority)
    }

    fn cuStreamDestroy(stream: Handle) {
        destroy(stream)
    }

    fn cuStreamDestroy_v2(stream: Handle) {
        destroy(stream)
    }

    fn cuStreamSynchronize | cuStreamSynchronize_ptsz (stream: Handle) |default| {
        synchronize(default, stream)
    }

    fn cuStreamQuery | cuStreamQuery_ptsz (stream: Handle) |default| {
        query(default, stream)
    }

    fn cuStreamGetPriority | cuStreamGetPriority_ptsz (stream: Handle, priority: *mut c_int) |default| {
        put(priority, context::of_stream(default, stream)?.1.priority)
    }

    fn cuStreamGetFlags | cuStreamGetFlags_ptsz (stream: Handle, flags: *mut c_uint) |default| {
        put(flags, context::of_stream(default, stream)?.1.flags)
    }

    fn cuStreamGetId | cuStreamGetId_ptsz (stream: Handle, id: *mut c_ulonglong) |default| {
        put(id, context::of_stream(default, stream)?.1.id)
    }

    fn cuStreamGetCtx | cuStreamGetCtx_ptsz (stream: Handle, out: *mut Handle) |default| {
        put(out, context::of_stream(default, stream)?.1.context)
    }

    fn cuStreamGetCtx_v2 | cuStreamGetCtx_v2_ptsz (stream: Handle, out: *mut Handle, green: *mut Handle) |default| {
        put_if(green, 0);
        put(out, context::of_stream(default, stream)?.1.context)
    }

    fn cuStreamGetDevice | cuStreamGetDevice_ptsz (stream: Handle, dev: *mut CUdevice) |default| {
        put(dev, context::of_stream(default, stream)?.1.device as CUdevice)
    }

    fn cuStreamAddCallback | cuStreamAddCallback_ptsz (stream: Handle, function: CUstreamCallback, data: *mut c_void, flags: c_uint) |default| {
        if flags != 0 || function.is_none() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let (context, found) = context::of_stream(default, stream)?;
        not_captured(&found)?;
        let work = Work::Callback(function, Data(data.expose_provenance()), stream);
        context::enqueue(&context, &found, work)
    }

    fn cuLaunchHostFunc | cuLaunchHostFunc_ptsz (stream: Handle, function: CUhostFn, data: *mut c_void) |default| {
        if function.is_none() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        enqueue(default, stream, Work::Host(function, Data(data.expose_provenance())))
    }

    fn cuStreamAttachMemAsync | cuStreamAttachMemAsync_ptsz (stream: Handle, at: CUdeviceptr, size: usize, flags: c_uint) |default| {
        let _ = (at, size, flags);
        enqueue(default, stream, Work::Nothing)
    }

    fn cuStreamWaitValue32 | cuStreamWaitValue32_ptsz (stream: Handle, at: CUdeviceptr, value: u32, flags: c_uint) |default| {
        enqueue(default, stream, waiting(at, value.into(), false, flags))
    }

    fn cuStreamWaitValue32_v2 | cuStreamWaitValue32_v2_ptsz (stream: Handle, at: CUdeviceptr, value: u32, flags: c_uint) |default| {
        enqueue(default, stream, waiting(at, value.into(), false, flags))
    }

    fn cuStreamWaitValue64 | cuStreamWaitValue64_ptsz (stream: Handle, at: CUdeviceptr, value: u64, flags: c_uint) |default| {
        enqueue(default, stream, waiting(at, value, true, flags))
    }

    fn cuStreamWaitValue64_v2 | cuStreamWaitValue64_v2_ptsz (stream: Handle, at: CUdeviceptr, value: u64, flags: c_uint) |default| {
        enqueue(default, stream, waiting(at, value, true, flags))
    }

    fn cuStreamWriteValue32 | cuStreamWriteValue32_ptsz (stream: Handle, at: CUdeviceptr, value: u32, flags: c_uint) |default| {
        let _ = flags;
        enqueue(default, stream, writing(at, value.into(), false))
    }

    fn cuStreamWriteValue32_v2 | cuStreamWriteValue32_v2_ptsz (stream: Handle, at: CUdeviceptr, value: u32, flags: c_uint) |default| {
        let _ = flags;
        enqueue(default, stream, writing(at, value.into(), false))
    }

    fn cuStreamWriteValue64 | cuStreamWriteValue64_ptsz (stream: Handle, at: CUdeviceptr, value: u64, flags: c_uint) |default| {
        let _ = flags;
        enqueue(default, stream, writing(at, value, true))
    }

    fn cuStreamWriteValue64_v2 | cuStreamWriteValue64_v2_ptsz (stream: Handle, at: CUdeviceptr, value: u64, flags: c_uint) |default| {
        let _ = flags;
        enqueue(default, stream, writing(at, value, true))
    }

    fn cuStreamBatchMemOp | cuStreamBatchMemOp_ptsz (stream: Handle, count: c_uint, list: *const CUstreamMemOp, flags: c_uint) |default| {
        let _ = flags;
        enqueue(default, stream, operations(count, list)?)
    }

    fn cuStreamBatchMemOp_v2 | cuStreamBatchMemOp_v2_ptsz (stream: Handle, count: c_uint, list: *const CUstreamMemOp, flags: c_uint) |default| {
        let _ = flags;
        enqueue(default, stream, operations(count, list)?)
    }
}
