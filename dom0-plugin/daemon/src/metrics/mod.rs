//! Figures for Prometheus (`metrics` in `xl-gpu.conf`): what there is, and who may ask for it.

pub mod http;
pub mod page;
