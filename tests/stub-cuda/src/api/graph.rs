//! Graphs: making, running and changing them.

use std::collections::BTreeSet;
use std::ffi::{c_char, c_uint, c_ulonglong, c_void};

use crate::abi::*;
use crate::call::{Default, entry_points};
use crate::context;
use crate::ffi::{get, list, put, put_counted, put_if, put_list};
use crate::graph::{self, EXECUTABLES, Executable, GRAPHS, Graph, Node};
use crate::lock::lock;

const UPDATE_ERROR: c_uint = 1;

fn executable(handle: Handle) -> Outcome<std::sync::Arc<Executable>> {
    EXECUTABLES.get(handle).ok_or(CUDA_ERROR_INVALID_VALUE)
}

fn instantiate(out: *mut Handle, graph: Handle) -> Outcome<()> {
    context::current()?;
    if out.is_null() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    put(out, graph::get(graph)?.instantiate()?.handle)
}

/// Pairs of nodes, the second after the first.
fn edges(graph: &Graph) -> Vec<(Handle, Handle)> {
    let nodes = lock(&graph.nodes);
    let of = |(handle, node): (&Handle, &Node)| -> Vec<(Handle, Handle)> {
        node.after.iter().map(|after| (*after, *handle)).collect()
    };
    nodes.iter().flat_map(of).collect()
}

fn get_edges(graph: Handle, from: *mut Handle, to: *mut Handle, count: *mut usize) -> Outcome<()> {
    let edges = edges(&*graph::get(graph)?);
    if from.is_null() {
        return put(count, edges.len());
    }
    let (first, second): (Vec<Handle>, Vec<Handle>) = edges.into_iter().unzip();
    put_list(to, &second[..second.len().min(get(count)?)]);
    put_counted(from, count, &first)
}

fn change_edges(
    graph: Handle,
    from: *const Handle,
    to: *const Handle,
    count: usize,
    change: impl Fn(&mut Vec<Handle>, Handle) -> bool,
) -> Outcome<()> {
    let graph = graph::get(graph)?;
    let (from, to) = (list(from, count)?, list(to, count)?);
    let mut nodes = lock(&graph.nodes);
    if from.iter().chain(&to).any(|node| !nodes.contains_key(node)) {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    for (from, to) in from.into_iter().zip(to) {
        let node = nodes.get_mut(&to).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        if !change(&mut node.after, from) {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
    }
    Ok(())
}

fn add_edge(after: &mut Vec<Handle>, node: Handle) -> bool {
    let is_new = !after.contains(&node);
    if is_new {
        after.push(node);
    }
    is_new
}

fn remove_edge(after: &mut Vec<Handle>, node: Handle) -> bool {
    let before = after.len();
    after.retain(|known| *known != node);
    after.len() < before
}

fn dependencies(node: Handle, out: *mut Handle, count: *mut usize) -> Outcome<()> {
    let graph = graph::of_node(node)?;
    let after = lock(&graph.nodes)[&node].after.clone();
    put_counted(out, count, &after)
}

fn dependents(node: Handle, out: *mut Handle, count: *mut usize) -> Outcome<()> {
    let graph = graph::of_node(node)?;
    let after = edges(&graph).into_iter().filter(|(from, _)| *from == node);
    put_counted(out, count, &after.map(|(_, to)| to).collect::<Vec<_>>())
}

fn update(handle: Handle, graph: Handle) -> Outcome<Result<(), (c_uint, Handle)>> {
    Ok(graph::update(&*executable(handle)?, &*graph::get(graph)?))
}

fn launch(default: Default, handle: Handle, stream: Handle) -> Outcome<()> {
    let (context, stream) = context::of_stream(default, stream)?;
    context::enqueue(&context, &stream, executable(handle)?.work()?)
}

entry_points! {
    fn cuGraphCreate(out: *mut Handle, flags: c_uint) {
        match flags == 0 && !out.is_null() {
            true => put(out, Graph::create().handle),
            false => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }

    fn cuGraphDestroy(graph: Handle) {
        GRAPHS.remove(graph).map(drop).ok_or(CUDA_ERROR_INVALID_VALUE)
    }

    fn cuGraphClone(out: *mut Handle, graph: Handle) {
        let graph = graph::get(graph)?;
        let nodes = lock(&graph.nodes).clone();
        let clone = Graph::create();
        *lock(&clone.nodes) = graph::renamed(nodes);
        put(out, clone.handle)
    }

    fn cuGraphGetNodes(graph: Handle, out: *mut Handle, count: *mut usize) {
        let graph = graph::get(graph)?;
        let nodes: Vec<Handle> = lock(&graph.nodes).keys().copied().collect();
        put_counted(out, count, &nodes)
    }

    fn cuGraphGetRootNodes(graph: Handle, out: *mut Handle, count: *mut usize) {
        let graph = graph::get(graph)?;
        let nodes = lock(&graph.nodes);
        let roots = nodes.iter().filter(|(_, node)| node.after.is_empty());
        put_counted(out, count, &roots.map(|(handle, _)| *handle).collect::<Vec<_>>())
    }

    fn cuGraphGetEdges(graph: Handle, from: *mut Handle, to: *mut Handle, count: *mut usize) {
        get_edges(graph, from, to, count)
    }

    fn cuGraphGetEdges_v2(graph: Handle, from: *mut Handle, to: *mut Handle, data: *mut u64, count: *mut usize) {
        let room = if from.is_null() { 0 } else { edges(&*graph::get(graph)?).len().min(get(count)?) };
        put_list(data, &vec![0; room]);
        get_edges(graph, from, to, count)
    }

    fn cuGraphAddDependencies(graph: Handle, from: *const Handle, to: *const Handle, count: usize) {
        change_edges(graph, from, to, count, add_edge)
    }

    fn cuGraphAddDependencies_v2(graph: Handle, from: *const Handle, to: *const Handle, data: *const c_void, count: usize) {
        let _ = data;
        change_edges(graph, from, to, count, add_edge)
    }

    fn cuGraphRemoveDependencies(graph: Handle, from: *const Handle, to: *const Handle, count: usize) {
        change_edges(graph, from, to, count, remove_edge)
    }

    fn cuGraphRemoveDependencies_v2(graph: Handle, from: *const Handle, to: *const Handle, data: *const c_void, count: usize) {
        let _ = data;
        change_edges(graph, from, to, count, remove_edge)
    }

    fn cuGraphNodeGetDependencies(node: Handle, out: *mut Handle, count: *mut usize) {
        dependencies(node, out, count)
    }

    fn cuGraphNodeGetDependencies_v2(node: Handle, out: *mut Handle, data: *mut c_void, count: *mut usize) {
        let _ = data;
        dependencies(node, out, count)
    }

    fn cuGraphNodeGetDependentNodes(node: Handle, out: *mut Handle, count: *mut usize) {
        dependents(node, out, count)
    }

    fn cuGraphNodeGetDependentNodes_v2(node: Handle, out: *mut Handle, data: *mut c_void, count: *mut usize) {
        let _ = data;
        dependents(node, out, count)
    }

    fn cuGraphNodeGetType(node: Handle, kind: *mut c_uint) {
        let graph = graph::of_node(node)?;
        let nodes = lock(&graph.nodes);
        put(kind, graph::kind_of(&nodes[&node].work))
    }

    fn cuGraphDestroyNode(node: Handle) {
        let graph = graph::of_node(node)?;
        let mut nodes = lock(&graph.nodes);
        nodes.remove(&node);
        nodes.values_mut().for_each(|other| other.after.retain(|after| *after != node));
        Ok(())
    }

    fn cuGraphInstantiate(out: *mut Handle, graph: Handle, error: *mut Handle, log: *mut c_char, room: usize) {
        let _ = (log, room);
        put_if(error, 0);
        instantiate(out, graph)
    }

    fn cuGraphInstantiate_v2(out: *mut Handle, graph: Handle, error: *mut Handle, log: *mut c_char, room: usize) {
        let _ = (log, room);
        put_if(error, 0);
        instantiate(out, graph)
    }

    fn cuGraphInstantiateWithFlags(out: *mut Handle, graph: Handle, flags: c_ulonglong) {
        match flags {
            0..=15 => instantiate(out, graph),
            _ => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }

    fn cuGraphInstantiateWithParams | cuGraphInstantiateWithParams_ptsz (out: *mut Handle, graph: Handle, parameters: *mut [u64; 4]) |default| {
        let [flags, stream, ..] = get(parameters)?;
        let _ = (default, stream);
        let result = instantiate(out, graph);
        put(parameters, [flags, stream, 0, u64::from(result.is_err())])?;
        result
    }

    fn cuGraphExecDestroy(handle: Handle) {
        EXECUTABLES.remove(handle).map(drop).ok_or(CUDA_ERROR_INVALID_VALUE)
    }

    fn cuGraphExecGetFlags(handle: Handle, flags: *mut c_ulonglong) {
        executable(handle)?;
        put(flags, 0)
    }

    fn cuGraphLaunch | cuGraphLaunch_ptsz (handle: Handle, stream: Handle) |default| {
        launch(default, handle, stream)
    }

    fn cuGraphUpload | cuGraphUpload_ptsz (handle: Handle, stream: Handle) |default| {
        context::of_stream(default, stream)?;
        executable(handle).map(drop)
    }

    fn cuGraphExecUpdate(handle: Handle, graph: Handle, node: *mut Handle, result: *mut c_uint) {
        let updated = update(handle, graph).inspect_err(|_| put_if(result, UPDATE_ERROR))?;
        let (code, failed) = updated.err().unwrap_or((0, 0));
        put_if(node, failed);
        put_if(result, code);
        updated.map_err(|_| CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE)
    }

    fn cuGraphExecUpdate_v2(handle: Handle, graph: Handle, result: *mut [usize; 3]) {
        let updated = update(handle, graph).inspect_err(|_| put_if(result, [UPDATE_ERROR as usize, 0, 0]))?;
        let (code, failed) = updated.err().unwrap_or((0, 0));
        put_if(result, [code as usize, failed, 0]);
        updated.map_err(|_| CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE)
    }

    fn cuGraphNodeGetEnabled(handle: Handle, node: Handle, enabled: *mut c_uint) {
        let executable = executable(handle)?;
        let is_known = lock(&executable.nodes).contains_key(&node);
        put(enabled, is_known.into())
    }

    fn cuGraphDebugDotPrint(graph: Handle, path: *const c_char, flags: c_uint) {
        let _ = (crate::ffi::text(path)?, flags);
        graph::get(graph).map(drop)
    }

    fn cuGraphNodeFindInClone(out: *mut Handle, node: Handle, clone: Handle) {
        // A clone's nodes are in the order of the original's.
        let (graph, clone) = (graph::of_node(node)?, graph::get(clone)?);
        let nodes: BTreeSet<Handle> = lock(&graph.nodes).keys().copied().collect();
        let nth = nodes.iter().position(|known| *known == node).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        let found = lock(&clone.nodes).keys().nth(nth).copied();
        put(out, found.ok_or(CUDA_ERROR_INVALID_VALUE)?)
    }
}
