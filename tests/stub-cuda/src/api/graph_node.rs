//! Nodes of graphs, by the kind of their work.

use std::ffi::{c_uint, c_void};
use std::sync::Arc;

use super::copy::copy_3d;
use super::set::fill;
use crate::abi::*;
use crate::call::entry_points;
use crate::context::{self, CONTEXTS, Context};
use crate::ffi::{get, list, put, put_if};
use crate::graph::{self, EXECUTABLES};
use crate::launch::{self, Launch, Request};
use crate::lock::lock;
use crate::work::{Data, Work};

const KERNEL: c_uint = 0;
const COPY: c_uint = 1;
const SET: c_uint = 2;
const HOST: c_uint = 3;
const CHILD: c_uint = 4;
const EMPTY: c_uint = 5;

/// `CUgraphNodeParams`: the kind, then its own at 16.
const PARAMETERS: usize = 16;

fn add(
    out: *mut Handle,
    graph: Handle,
    after: *const Handle,
    count: usize,
    work: Work,
) -> Outcome<()> {
    if out.is_null() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    work.check()?;
    put(out, graph::get(graph)?.add(work, list(after, count)?)?)
}

/// The given context, or the current one for NULL.
fn context_of(handle: Handle) -> Outcome<Arc<Context>> {
    match handle {
        0 => context::current(),
        _ => CONTEXTS.get(handle).ok_or(CUDA_ERROR_INVALID_CONTEXT),
    }
}

fn kernel(parameters: CUkernelNodeParams, function: Handle, context: Handle) -> Outcome<Work> {
    let request = Request {
        function,
        blocks: parameters.grid,
        threads: parameters.block,
        shared: parameters.shared,
        is_cooperative: false,
        parameters: parameters.parameters,
        extra: parameters.extra,
    };
    launch::prepare(&*context_of(context)?, request)
}

fn kernel_v1(parameters: *const CUkernelNodeParams) -> Outcome<Work> {
    let parameters = get(parameters)?;
    kernel(parameters, parameters.function, 0)
}

fn kernel_v2(parameters: *const CUkernelNodeParamsV2) -> Outcome<Work> {
    let parameters = get(parameters)?;
    let function = match parameters.v1.function {
        0 => parameters.kernel,
        function => function,
    };
    kernel(parameters.v1, function, parameters.context)
}

fn copy(parameters: *const CUmemcpy3D) -> Outcome<Work> {
    copy_3d(parameters).map(Work::Copy)
}

fn set(parameters: *const CUmemsetNodeParams) -> Outcome<Work> {
    let set = get(parameters)?;
    match set.element {
        1 | 2 | 4 => fill(
            set.dst,
            set.pitch,
            set.value,
            set.element.into(),
            set.width,
            set.height,
        ),
        _ => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

fn host(parameters: *const CUhostNodeParams) -> Outcome<Work> {
    let host = get(parameters)?;
    match host.function {
        Some(_) => Ok(Work::Host(
            host.function,
            Data(host.data.expose_provenance()),
        )),
        None => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

fn child(graph: Handle) -> Outcome<Work> {
    let graph = graph::get(graph)?;
    let executable = graph.instantiate()?;
    EXECUTABLES.remove(executable.handle);
    executable.work()
}

/// Any kind, of `CUgraphNodeParams`.
fn any(parameters: *const c_void) -> Outcome<Work> {
    let own = parameters.wrapping_byte_add(PARAMETERS);
    match get(parameters.cast::<c_uint>())? {
        KERNEL => kernel_v2(own.cast()),
        // Flags and the context stand before the copy.
        COPY => copy(own.wrapping_byte_add(16).cast()),
        SET => set(own.cast()),
        HOST => host(own.cast()),
        CHILD => child(get(own.cast())?),
        EMPTY => Ok(Work::Nothing),
        _ => Err(CUDA_ERROR_NOT_SUPPORTED),
    }
}

/// Other work for a node of a graph, of the same kind.
fn change(node: Handle, work: Work) -> Outcome<()> {
    let graph = graph::of_node(node)?;
    let mut nodes = lock(&graph.nodes);
    let node = nodes.get_mut(&node).ok_or(CUDA_ERROR_INVALID_VALUE)?;
    exchange(&mut node.work, work)
}

/// The same for a graph made ready.
fn change_ready(executable: Handle, node: Handle, work: Work) -> Outcome<()> {
    let executable = EXECUTABLES
        .get(executable)
        .ok_or(CUDA_ERROR_INVALID_VALUE)?;
    let mut nodes = lock(&executable.nodes);
    let node = nodes.get_mut(&node).ok_or(CUDA_ERROR_INVALID_VALUE)?;
    exchange(&mut node.work, work)
}

fn exchange(old: &mut Work, new: Work) -> Outcome<()> {
    if graph::kind_of(old) != graph::kind_of(&new) {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    new.check()?;
    *old = new;
    Ok(())
}

fn work_of(node: Handle) -> Outcome<Work> {
    let graph = graph::of_node(node)?;
    let nodes = lock(&graph.nodes);
    nodes
        .get(&node)
        .map(|node| node.work.clone())
        .ok_or(CUDA_ERROR_INVALID_VALUE)
}

fn kernel_parameters(node: Handle) -> Outcome<(CUkernelNodeParams, Handle)> {
    let Work::Kernel(kernel) = work_of(node)? else {
        return Err(CUDA_ERROR_INVALID_VALUE);
    };
    let launch: &Launch = kernel
        .as_any()
        .downcast_ref()
        .ok_or(CUDA_ERROR_INVALID_VALUE)?;
    let parameters = CUkernelNodeParams {
        function: launch.function.handle,
        grid: launch.shape.blocks,
        block: launch.shape.threads,
        shared: launch.shape.dynamic_shared,
        parameters: launch.pointers().as_ptr().cast(),
        extra: std::ptr::null(),
    };
    Ok((parameters, launch.function.context))
}

entry_points! {
    fn cuGraphAddEmptyNode(out: *mut Handle, graph: Handle, after: *const Handle, count: usize) {
        add(out, graph, after, count, Work::Nothing)
    }

    fn cuGraphAddKernelNode(out: *mut Handle, graph: Handle, after: *const Handle, count: usize, parameters: *const CUkernelNodeParams) {
        add(out, graph, after, count, kernel_v1(parameters)?)
    }

    fn cuGraphAddKernelNode_v2(out: *mut Handle, graph: Handle, after: *const Handle, count: usize, parameters: *const CUkernelNodeParamsV2) {
        add(out, graph, after, count, kernel_v2(parameters)?)
    }

    fn cuGraphAddMemcpyNode(out: *mut Handle, graph: Handle, after: *const Handle, count: usize, parameters: *const CUmemcpy3D, context: Handle) {
        context_of(context)?;
        add(out, graph, after, count, copy(parameters)?)
    }

    fn cuGraphAddMemsetNode(out: *mut Handle, graph: Handle, after: *const Handle, count: usize, parameters: *const CUmemsetNodeParams, context: Handle) {
        context_of(context)?;
        add(out, graph, after, count, set(parameters)?)
    }

    fn cuGraphAddHostNode(out: *mut Handle, graph: Handle, after: *const Handle, count: usize, parameters: *const CUhostNodeParams) {
        add(out, graph, after, count, host(parameters)?)
    }

    fn cuGraphAddChildGraphNode(out: *mut Handle, graph: Handle, after: *const Handle, count: usize, other: Handle) {
        add(out, graph, after, count, child(other)?)
    }

    fn cuGraphAddNode(out: *mut Handle, graph: Handle, after: *const Handle, count: usize, parameters: *const c_void) {
        add(out, graph, after, count, any(parameters)?)
    }

    fn cuGraphAddNode_v2(out: *mut Handle, graph: Handle, after: *const Handle, edges: *const c_void, count: usize, parameters: *const c_void) {
        let _ = edges;
        add(out, graph, after, count, any(parameters)?)
    }

    fn cuGraphNodeSetParams(node: Handle, parameters: *const c_void) {
        change(node, any(parameters)?)
    }

    fn cuGraphExecNodeSetParams(executable: Handle, node: Handle, parameters: *const c_void) {
        change_ready(executable, node, any(parameters)?)
    }

    fn cuGraphKernelNodeGetParams(node: Handle, out: *mut CUkernelNodeParams) {
        put(out, kernel_parameters(node)?.0)
    }

    fn cuGraphKernelNodeGetParams_v2(node: Handle, out: *mut CUkernelNodeParamsV2) {
        let (v1, context) = kernel_parameters(node)?;
        put(out, CUkernelNodeParamsV2 { v1, kernel: 0, context })
    }

    fn cuGraphKernelNodeSetParams(node: Handle, parameters: *const CUkernelNodeParams) {
        change(node, kernel_v1(parameters)?)
    }

    fn cuGraphKernelNodeSetParams_v2(node: Handle, parameters: *const CUkernelNodeParamsV2) {
        change(node, kernel_v2(parameters)?)
    }

    fn cuGraphExecKernelNodeSetParams(executable: Handle, node: Handle, parameters: *const CUkernelNodeParams) {
        change_ready(executable, node, kernel_v1(parameters)?)
    }

    fn cuGraphExecKernelNodeSetParams_v2(executable: Handle, node: Handle, parameters: *const CUkernelNodeParamsV2) {
        change_ready(executable, node, kernel_v2(parameters)?)
    }

    fn cuGraphMemcpyNodeSetParams(node: Handle, parameters: *const CUmemcpy3D) {
        change(node, copy(parameters)?)
    }

    fn cuGraphExecMemcpyNodeSetParams(executable: Handle, node: Handle, parameters: *const CUmemcpy3D, context: Handle) {
        context_of(context)?;
        change_ready(executable, node, copy(parameters)?)
    }

    fn cuGraphMemsetNodeGetParams(node: Handle, out: *mut CUmemsetNodeParams) {
        let Work::Fill(fill) = work_of(node)? else {
            return Err(CUDA_ERROR_INVALID_VALUE);
        };
        put(out, CUmemsetNodeParams {
            dst: fill.to,
            pitch: fill.pitch as usize,
            value: fill.value,
            element: fill.element as c_uint,
            width: fill.width as usize,
            height: fill.height as usize,
        })
    }

    fn cuGraphMemsetNodeSetParams(node: Handle, parameters: *const CUmemsetNodeParams) {
        change(node, set(parameters)?)
    }

    fn cuGraphExecMemsetNodeSetParams(executable: Handle, node: Handle, parameters: *const CUmemsetNodeParams, context: Handle) {
        context_of(context)?;
        change_ready(executable, node, set(parameters)?)
    }

    fn cuGraphHostNodeGetParams(node: Handle, out: *mut CUhostNodeParams) {
        match work_of(node)? {
            Work::Host(function, data) => put(out, CUhostNodeParams { function, data: data.pointer() }),
            _ => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }

    fn cuGraphHostNodeSetParams(node: Handle, parameters: *const CUhostNodeParams) {
        change(node, host(parameters)?)
    }

    fn cuGraphExecHostNodeSetParams(executable: Handle, node: Handle, parameters: *const CUhostNodeParams) {
        change_ready(executable, node, host(parameters)?)
    }

    fn cuGraphKernelNodeGetAttribute(node: Handle, attribute: c_uint, value: *mut [u64; 8]) {
        let _ = attribute;
        kernel_parameters(node)?;
        put_if(value, [0; 8]);
        Ok(())
    }

    fn cuGraphKernelNodeSetAttribute(node: Handle, attribute: c_uint, value: *const [u64; 8]) {
        let _ = (attribute, get(value)?);
        kernel_parameters(node).map(drop)
    }

    fn cuGraphKernelNodeCopyAttributes(to: Handle, from: Handle) {
        kernel_parameters(to)?;
        kernel_parameters(from).map(drop)
    }
}
