//! The agent between programs and a stand-in for Xen.

extern crate channel as xl_gpu_channel;

mod child;
#[path = "../../../../channel/tests/common/mod.rs"]
mod common;
mod conversation;
mod fake;
mod hostile;
mod lifetime;
mod rig;
mod waiting;
