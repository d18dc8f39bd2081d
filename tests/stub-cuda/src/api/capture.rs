//! Capture of streams.

use std::ffi::{c_uint, c_ulonglong, c_void};
use std::sync::Arc;

use crate::abi::*;
use crate::call::{Default, entry_points};
use crate::capture::{self, Capture, GLOBAL, Place, RELAXED};
use crate::context;
use crate::ffi::{get, list, put, put_if};
use crate::graph::{self, GRAPHS, Graph};
use crate::lock::lock;

const NONE: c_uint = 0;
const ACTIVE: c_uint = 1;
const INVALIDATED: c_uint = 2;

fn begin(
    default: Default,
    stream: Handle,
    mode: c_uint,
    graph: Arc<Graph>,
    after: Vec<Handle>,
) -> Outcome<()> {
    let (context, stream) = context::of_stream(default, stream)?;
    if mode > RELAXED {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    if stream.handle == CU_STREAM_LEGACY {
        return Err(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }
    let mut joined = lock(&stream.capture);
    if joined.is_some() {
        return Err(CUDA_ERROR_ILLEGAL_STATE);
    }
    let capture = Capture::begin(stream.id, context.handle, stream.is_blocking(), mode, graph);
    *joined = Some(Place { capture, after });
    Ok(())
}

fn end(default: Default, stream: Handle, out: *mut Handle) -> Outcome<()> {
    let (context, stream) = context::of_stream(default, stream)?;
    let place = lock(&stream.capture)
        .clone()
        .ok_or(CUDA_ERROR_ILLEGAL_STATE)?;
    if place.capture.origin != stream.id {
        return Err(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    }
    place.capture.check_thread()?;
    let id = place.capture.id;
    let joined = place.capture.graph.ancestors(&place.after);
    let mut is_unjoined = false;
    for other in context.streams() {
        let mut part = lock(&other.capture);
        if let Some(found) = part.take_if(|part| part.capture.id == id) {
            is_unjoined |= found.after.iter().any(|node| !joined.contains(node));
        }
    }
    let result = place.capture.end().and(match is_unjoined {
        true => Err(CUDA_ERROR_STREAM_CAPTURE_UNJOINED),
        false => Ok(()),
    });
    match result {
        Ok(()) => put_if(out, place.capture.graph.handle),
        Err(_) => {
            put_if(out, 0);
            GRAPHS.remove(place.capture.graph.handle);
        }
    }
    result
}

/// What a stream's capture is: status, and its place.
fn status(default: Default, stream: Handle) -> Outcome<(c_uint, Option<Place>)> {
    let (context, stream) = context::of_stream(default, stream)?;
    if stream.handle == CU_STREAM_LEGACY && capture::concerns_legacy(context.handle) {
        return Err(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    }
    let place = lock(&stream.capture).clone();
    let status = match &place {
        None => NONE,
        Some(place) if place.capture.check().is_err() => INVALIDATED,
        Some(_) => ACTIVE,
    };
    Ok((status, place))
}

fn info(
    default: Default,
    stream: Handle,
    out: *mut c_uint,
    id: *mut c_ulonglong,
    graph: *mut Handle,
    after: *mut *const Handle,
    count: *mut usize,
) -> Outcome<()> {
    let (status, place) = status(default, stream)?;
    put(out, status)?;
    if let Some(place) = place.filter(|_| status == ACTIVE) {
        put_if(id, place.capture.id);
        put_if(graph, place.capture.graph.handle);
        put_if(count, place.after.len());
        put_if(after, place.capture.keep(place.after));
    }
    Ok(())
}

fn update(
    default: Default,
    stream: Handle,
    nodes: *const Handle,
    count: usize,
    flags: c_uint,
) -> Outcome<()> {
    let (_, stream) = context::of_stream(default, stream)?;
    let nodes = list(nodes, count)?;
    let mut joined = lock(&stream.capture);
    let place = joined.as_mut().ok_or(CUDA_ERROR_ILLEGAL_STATE)?;
    match flags {
        0 => place.after.extend(nodes),
        1 => place.after = nodes,
        _ => return Err(CUDA_ERROR_INVALID_VALUE),
    }
    Ok(())
}

entry_points! {
    fn cuThreadExchangeStreamCaptureMode(mode: *mut c_uint) {
        match get(mode)? {
            new @ 0..=RELAXED => put(mode, capture::exchange_mode(new)),
            _ => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }

    fn cuStreamBeginCapture | cuStreamBeginCapture_ptsz (stream: Handle) |default| {
        begin(default, stream, GLOBAL, Graph::create(), Vec::new())
    }

    fn cuStreamBeginCapture_v2 | cuStreamBeginCapture_v2_ptsz (stream: Handle, mode: c_uint) |default| {
        begin(default, stream, mode, Graph::create(), Vec::new())
    }

    fn cuStreamBeginCaptureToGraph | cuStreamBeginCaptureToGraph_ptsz (
        stream: Handle, graph: Handle, after: *const Handle, edges: *const c_void, count: usize, mode: c_uint
    ) |default| {
        let _ = edges;
        begin(default, stream, mode, graph::get(graph)?, list(after, count)?)
    }

    fn cuStreamEndCapture | cuStreamEndCapture_ptsz (stream: Handle, graph: *mut Handle) |default| {
        end(default, stream, graph)
    }

    fn cuStreamIsCapturing | cuStreamIsCapturing_ptsz (stream: Handle, out: *mut c_uint) |default| {
        put(out, status(default, stream)?.0)
    }

    fn cuStreamGetCaptureInfo | cuStreamGetCaptureInfo_ptsz (stream: Handle, out: *mut c_uint, id: *mut c_ulonglong) |default| {
        info(default, stream, out, id, std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut())
    }

    fn cuStreamGetCaptureInfo_v2 | cuStreamGetCaptureInfo_v2_ptsz (
        stream: Handle, out: *mut c_uint, id: *mut c_ulonglong, graph: *mut Handle, after: *mut *const Handle, count: *mut usize
    ) |default| {
        info(default, stream, out, id, graph, after, count)
    }

    fn cuStreamGetCaptureInfo_v3 | cuStreamGetCaptureInfo_v3_ptsz (
        stream: Handle, out: *mut c_uint, id: *mut c_ulonglong, graph: *mut Handle, after: *mut *const Handle,
        edges: *mut *const c_void, count: *mut usize
    ) |default| {
        put_if(edges, std::ptr::null());
        info(default, stream, out, id, graph, after, count)
    }

    fn cuStreamUpdateCaptureDependencies | cuStreamUpdateCaptureDependencies_ptsz (
        stream: Handle, nodes: *const Handle, count: usize, flags: c_uint
    ) |default| {
        update(default, stream, nodes, count, flags)
    }

    fn cuStreamUpdateCaptureDependencies_v2 | cuStreamUpdateCaptureDependencies_v2_ptsz (
        stream: Handle, nodes: *const Handle, edges: *const c_void, count: usize, flags: c_uint
    ) |default| {
        let _ = edges;
        update(default, stream, nodes, count, flags)
    }
}
