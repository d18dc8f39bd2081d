//! Graphs of work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::Mutex;

use crate::abi::*;
use crate::lock::lock;
use crate::table::{self, Table};
use crate::work::Work;

/// `CU_GRAPH_NODE_TYPE_*` of work.
pub fn kind_of(work: &Work) -> u32 {
    match work {
        Work::Kernel(_) => 0,
        Work::Copy(_) => 1,
        Work::Fill(_) => 2,
        Work::Host(..) | Work::Callback(..) => 3,
        Work::All(_) => 4,
        Work::Wait { .. } | Work::Write { .. } => 12,
        Work::FreePool(_) => 11,
        Work::Nothing => 5,
    }
}

/// One piece of work, and what it comes after.
#[derive(Clone)]
pub struct Node {
    pub work: Work,
    pub after: Vec<Handle>,
}

pub struct Graph {
    pub handle: Handle,
    /// By handle, which is also the order they were made in.
    pub nodes: Mutex<BTreeMap<Handle, Node>>,
}

/// A graph made ready to run.
pub struct Executable {
    pub handle: Handle,
    pub nodes: Mutex<BTreeMap<Handle, Node>>,
}

pub static GRAPHS: Table<Graph> = Table::new();
pub static EXECUTABLES: Table<Executable> = Table::new();

impl Graph {
    pub fn create() -> Arc<Graph> {
        let graph = Arc::new(Graph {
            handle: table::new_handle(),
            nodes: Mutex::default(),
        });
        GRAPHS.insert(graph.handle, graph.clone());
        graph
    }

    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` where it is to come after what is no node of the graph.
    pub fn add(&self, work: Work, after: Vec<Handle>) -> Outcome<Handle> {
        let mut nodes = lock(&self.nodes);
        if after.iter().any(|node| !nodes.contains_key(node)) {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let handle = table::new_handle();
        nodes.insert(handle, Node { work, after });
        Ok(handle)
    }

    /// Nodes, and all that they come after.
    pub fn ancestors(&self, nodes: &[Handle]) -> BTreeSet<Handle> {
        let all = lock(&self.nodes);
        let mut found = BTreeSet::new();
        let mut open = nodes.to_vec();
        while let Some(node) = open.pop() {
            if found.insert(node) {
                open.extend(
                    all.get(&node)
                        .iter()
                        .flat_map(|node| node.after.iter().copied()),
                );
            }
        }
        found
    }

    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` for a circle.
    pub fn instantiate(&self) -> Outcome<Arc<Executable>> {
        let nodes = lock(&self.nodes).clone();
        ordered(&nodes)?;
        let executable = Arc::new(Executable {
            handle: table::new_handle(),
            nodes: Mutex::new(nodes),
        });
        EXECUTABLES.insert(executable.handle, executable.clone());
        Ok(executable)
    }
}

impl Executable {
    /// All its work, in an order that the edges allow.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` for a circle.
    pub fn work(&self) -> Outcome<Work> {
        let nodes = lock(&self.nodes);
        let order = ordered(&nodes)?;
        Ok(Work::All(
            order.iter().map(|node| nodes[node].work.clone()).collect(),
        ))
    }
}

/// Work of one graph taken over by another of the same shape, made before. Else `CU_GRAPH_EXEC_UPDATE_*`, and the node.
///
/// # Errors
/// What has changed.
pub fn update(executable: &Executable, graph: &Graph) -> Result<(), (u32, Handle)> {
    const TOPOLOGY: u32 = 2;
    const KIND: u32 = 3;
    let mut old = lock(&executable.nodes);
    let new = lock(&graph.nodes);
    if old.len() != new.len() {
        return Err((TOPOLOGY, 0));
    }
    let place = |nodes: &BTreeMap<Handle, Node>, node: &Node| -> Vec<usize> {
        node.after
            .iter()
            .filter_map(|after| nodes.keys().position(|key| key == after))
            .collect()
    };
    for ((_, was), (handle, is)) in old.iter().zip(new.iter()) {
        if kind_of(&was.work) != kind_of(&is.work) {
            return Err((KIND, *handle));
        }
        if place(&old, was) != place(&new, is) {
            return Err((TOPOLOGY, *handle));
        }
    }
    for (was, is) in old.values_mut().zip(new.values()) {
        was.work = is.work.clone();
    }
    Ok(())
}

fn ordered(nodes: &BTreeMap<Handle, Node>) -> Outcome<Vec<Handle>> {
    let mut order: Vec<Handle> = Vec::new();
    while order.len() < nodes.len() {
        let before = order.len();
        for (handle, node) in nodes {
            if !order.contains(handle) && node.after.iter().all(|node| order.contains(node)) {
                order.push(*handle);
            }
        }
        if order.len() == before {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
    }
    Ok(order)
}

/// # Errors
/// `CUDA_ERROR_INVALID_VALUE`.
pub fn get(graph: Handle) -> Outcome<Arc<Graph>> {
    GRAPHS.get(graph).ok_or(CUDA_ERROR_INVALID_VALUE)
}

/// The graph that a node is in.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE`.
pub fn of_node(node: Handle) -> Outcome<Arc<Graph>> {
    let mut graphs = GRAPHS.all().into_iter();
    graphs
        .find(|graph| lock(&graph.nodes).contains_key(&node))
        .ok_or(CUDA_ERROR_INVALID_VALUE)
}

/// The same nodes with new handles, in the same order.
pub fn renamed(nodes: BTreeMap<Handle, Node>) -> BTreeMap<Handle, Node> {
    let names: BTreeMap<Handle, Handle> = nodes
        .keys()
        .map(|old| (*old, table::new_handle()))
        .collect();
    let rename = |(old, node): (Handle, Node)| {
        let after = node.after.iter().map(|after| names[after]).collect();
        (
            names[&old],
            Node {
                work: node.work,
                after,
            },
        )
    };
    nodes.into_iter().map(rename).collect()
}
