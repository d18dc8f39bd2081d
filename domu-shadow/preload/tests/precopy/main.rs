//! Captures that compare on the device, while a program does what it likes.

#[path = "../common/mod.rs"]
mod common;
#[path = "../delta/image.rs"]
mod image;
#[path = "../delta/rig.rs"]
mod rig;

mod program;
mod random;
mod rounds;
mod storm;
