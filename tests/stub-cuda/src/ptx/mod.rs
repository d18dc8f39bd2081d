//! PTX: read, decoded once, and run on the processor, 32 lanes in step.
//!
//! | room | purpose |
//! |---|---|
//! | [`lex`] | text to tokens |
//! | [`types`] | types of values, spaces of memory |
//! | [`syntax`] | what a module consists of |
//! | [`parse`] | tokens to that |
//! | [`code`] | instructions as they are run |
//! | [`arithmetic`], [`compare`], [`convert`] | what they compute |
//! | [`names`] | what names stand for while a kernel is decoded |
//! | [`decode`], [`decode_memory`], [`decode_flow`] | statements to instructions |
//! | [`access`] | memory as kernels see it, checked |
//! | [`atomic`] | atomic operations |
//! | [`warp`] | 32 lanes |
//! | [`grid`] | blocks of warps, and all of them |

mod access;
mod arithmetic;
mod atomic;
mod code;
mod compare;
mod convert;
mod decode;
mod decode_flow;
mod decode_memory;
mod grid;
mod lex;
mod names;
mod parse;
mod syntax;
mod types;
mod warp;

pub use code::Kernel;
pub use decode::decode;
pub use grid::{Shape, run};
pub use parse::parse;
pub use syntax::{Initial, Module, Value, Variable};
pub use types::Space;
