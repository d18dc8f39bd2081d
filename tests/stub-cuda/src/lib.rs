//! A CUDA driver (`libcuda.so.1`) for tests: see README.md.
//!
//! | room | purpose |
//! |---|---|
//! | [`abi`], [`errors`], [`ffi`] | types and codes of cuda.h, and what C pointers lead to |
//! | [`options`], [`rules`] | what the driver is told to be, and how to misbehave |
//! | [`lock`], [`gate`], [`call`], [`table`] | what surrounds every call; handles |
//! | [`device`], [`node`] | the devices, and the files that stand for them |
//! | [`memory`] | device memory |
//! | [`fence`], [`work`], [`graph`], [`capture`], [`stream`], [`event`], [`context`] | work and its order |
//! | [`ptx`], [`module`], [`library`], [`launch`] | kernels: PTX and what runs it |
//! | [`array`], [`ipc`] | opaque memory; memory of other processes |
//! | [`lookup`] | functions by name and version |
//! | [`checkpoint`] | taking the process off its devices |
//! | [`api`] | the functions |

mod abi;
mod api;
mod array;
mod call;
mod capture;
mod checkpoint;
mod context;
mod device;
mod errors;
mod event;
mod fence;
mod ffi;
mod gate;
mod graph;
mod ipc;
mod launch;
mod library;
mod lock;
mod lookup;
mod memory;
mod module;
mod node;
mod options;
mod ptx;
mod rules;
mod stream;
mod table;
mod work;
