//! The functions, by the chapters of cuda.h.

mod absent;
mod array;
mod capture;
mod checkpoint;
mod context;
mod copy;
mod device;
mod driver;
mod event;
mod graph;
mod graph_node;
mod hints;
mod ipc;
mod launch;
mod library;
mod lookup;
mod memory;
mod module;
mod pointer;
mod pool;
mod primary;
mod set;
mod stream;
mod virtual_memory;
