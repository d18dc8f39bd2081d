//! Graphs of work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;

use crate::abi::*;
use crate::lock::lock;
use crate::table::{self, Table};
use crate::work::Work;

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
