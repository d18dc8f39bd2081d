//! A vendor driver (ICD) for tests: its device is the host, its compiler knows a dozen kernels by name. What it is good
//! for is what real drivers are bad at: it checks every handle and rule and reports who broke it, and it misbehaves as
//! real drivers do, on request (`XL_GPU_STUB`, see README.md), so that tests prove without a GPU what one would show.
//!
//! ```text
//!   table ──> api (C surface) ──> core (objects, queues) ──> memory, kernels
//!               │                    │
//!               └── handle (who may be named), call (failures on request), report (violations)
//!   driver (load, unload) ── node (device files left behind), linger (threads, mappings), thread
//! ```
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
mod symbols;
mod table;
mod thread;
