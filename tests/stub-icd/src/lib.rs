//! A vendor driver (ICD) for tests: its device is the host, its compiler knows a dozen kernels by name. What it is good
//! for is what real drivers are bad at: it checks every handle and rule and reports who broke it, and it misbehaves as
//! real drivers do, on request (`XL_GPU_STUB`, see README.md), so that tests prove without a GPU what one would show.
//!
//! ```text
//!   symbols (what the linker sees) ──> table (which function stands where)
//!   table ──> api (C surface) ──> driver (load, unload) ──> node (device files left behind), linger (threads, mappings)
//!   api, driver ──> core (objects, queues) ──> kernels, memory, thread
//!   all of these ──> handle (who may be named) ──> report (violations) ──> call (failures on request) ──> options
//! ```
//!
//! Handles start with the table, so `symbols` hands it down to `dispatch` when the library is mapped.
//!
//! The library must be able to leave the process: nothing in the caller's threads may register a thread-local
//! destructor, or glibc keeps it mapped after `dlclose`. So: no `std::thread::spawn`, channels or `println!`.

mod api;
mod binary;
mod call;
mod callback;
mod core;
mod dispatch;
mod driver;
mod entries;
mod extensions;
mod ffi;
mod handle;
mod hooks;
mod il;
mod info;
mod kernels;
mod linger;
mod loads;
mod lock;
mod memory;
mod node;
mod options;
mod report;
mod rules;
mod sibling;
mod symbols;
mod table;
mod thread;
