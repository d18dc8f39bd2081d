//! Blocks of warps, and all blocks of a launch.

use std::cell::RefCell;

use crate::abi::*;

use super::access::{Found, Memory};
use super::code::{Kernel, LANES};
use super::warp::{Count, Position, Stopped, Warp};

/// Instructions that a warp runs before another one gets its turn.
const TURN: u64 = 1 << 14;

/// How a kernel is launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub blocks: [u32; 3],
    pub threads: [u32; 3],
    pub dynamic_shared: u32,
    /// All blocks run at the same time.
    pub is_cooperative: bool,
}

struct Block<'a> {
    warps: Vec<(Warp, Stopped)>,
    memory: Memory<'a>,
}

impl<'a> Block<'a> {
    fn new(
        kernel: &Kernel,
        shape: &Shape,
        nth: u64,
        parameters: &'a [u8],
        found: &'a RefCell<Found>,
    ) -> Block<'a> {
        let threads: u32 = shape.threads.iter().product();
        let [x, y, _] = shape.blocks.map(u64::from);
        let block = [
            (nth % x) as u32,
            (nth / x % y) as u32,
            (nth / (x * y)) as u32,
        ];
        let count = threads.div_ceil(LANES as u32);
        let warp = |warp| {
            let position = Position {
                block,
                blocks: shape.blocks,
                threads: shape.threads,
                warp,
                dynamic_shared: shape.dynamic_shared,
            };
            (Warp::new(kernel, position), Stopped::Later)
        };
        let shared = kernel.shared + shape.dynamic_shared as usize;
        let lanes = count as usize * LANES;
        Block {
            warps: (0..count).map(warp).collect(),
            memory: Memory::new((shared, kernel.local, lanes), parameters, found),
        }
    }

    /// Gives each warp a turn. Whether all are done.
    fn turn(&mut self, kernel: &Kernel) -> Outcome<bool> {
        for (warp, stopped) in &mut self.warps {
            if *stopped == Stopped::Later {
                *stopped = warp.run(kernel, &mut self.memory, TURN)?;
            }
        }
        let states = || self.warps.iter().map(|(_, stopped)| *stopped);
        if states().all(|stopped| stopped == Stopped::Done) {
            return Ok(true);
        }
        if states().all(|stopped| stopped != Stopped::Later) {
            let counts = self.warps.iter().map(|(warp, _)| warp.count);
            let sum = counts.fold(Count::default(), |sum, one| Count {
                lanes: sum.lanes + one.lanes,
                holds: sum.holds + one.holds,
            });
            for (warp, stopped) in &mut self.warps {
                if *stopped == Stopped::Barrier {
                    warp.release(sum);
                    *stopped = Stopped::Later;
                }
            }
        }
        Ok(false)
    }
}

/// Runs a kernel to its end, or until it is no longer wanted.
///
/// # Errors
/// The fault of the context.
pub fn run(
    kernel: &Kernel,
    shape: &Shape,
    parameters: &[u8],
    device: usize,
    is_unwanted: &dyn Fn() -> bool,
) -> Outcome<()> {
    let found = RefCell::new(Found::new(device));
    let count: u64 = shape.blocks.iter().map(|&count| u64::from(count)).product();
    let at_once = if shape.is_cooperative { count } else { 1 };
    let mut first = 0;
    while first < count {
        let last = count.min(first + at_once);
        let block = |nth| Block::new(kernel, shape, nth, parameters, &found);
        let mut blocks: Vec<Block> = (first..last).map(block).collect();
        while !blocks.is_empty() {
            let mut left = Vec::new();
            for mut block in blocks {
                if !block.turn(kernel)? {
                    left.push(block);
                }
            }
            blocks = left;
            if is_unwanted() {
                return Ok(());
            }
        }
        first = last;
    }
    Ok(())
}
