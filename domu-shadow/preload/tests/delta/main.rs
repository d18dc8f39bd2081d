//! The delta engine on a real driver: pocl where there is no GPU.

mod exact;
mod image;
mod proof;
mod race;
mod rig;
