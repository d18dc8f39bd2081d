//! Threads that allocate, write, read and free all the time, while memory is read beside them and goes and comes back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use runtime::gate;
use xl_gpu_cuda::abi::*;
use xl_gpu_cuda::api::contexts::{cuCtxCreate_v2, cuCtxDestroy_v2};
use xl_gpu_cuda::core::memory;

use super::program::{
    MIB, alloc, contents, free, free_bytes, go, ok, over_stub, pattern, primary, read, set_current,
    write,
};
use super::virtual_memory::{BOTH, create, map, release, reserve, set_access, unmap};

const MOVES: usize = 8;
/// Of the program's between two moves.
const STEPS: usize = 15;

/// Numbers without rhyme, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

struct Piece {
    at: CUdeviceptr,
    wrote: Vec<u8>,
    handle: Option<u64>,
}

impl Piece {
    fn new(numbers: &mut Numbers, seed: u8) -> Piece {
        let wrote = pattern(1 + numbers.below(3 * MIB), seed);
        let piece = if numbers.below(3) == 0 {
            let size = wrote.len().next_multiple_of(2 * MIB);
            let (handle, at) = (create(size, 0), reserve(size));
            map(at, size, handle);
            set_access(at, size, BOTH);
            Piece {
                at,
                wrote,
                handle: Some(handle),
            }
        } else {
            Piece {
                at: alloc(wrote.len()),
                wrote,
                handle: None,
            }
        };
        ok(write(piece.at, &piece.wrote));
        piece
    }

    fn check(&self) {
        assert!(
            read(self.at, self.wrote.len()) == self.wrote,
            "contents at {:#x}",
            self.at
        );
    }

    fn end(self) {
        self.check();
        match self.handle {
            Some(handle) => {
                ok(unmap(self.at, self.wrote.len().next_multiple_of(2 * MIB)));
                ok(release(handle));
            }
            None => ok(free(self.at)),
        }
    }
}

fn program(seed: u8, stop: &AtomicBool, steps: &AtomicUsize) {
    let own = primary(0);
    let mut numbers = Numbers(u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut pieces: Vec<Piece> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        steps.fetch_add(1, Ordering::Relaxed);
        match numbers.below(8) {
            0..3 if pieces.len() < 5 => pieces.push(Piece::new(&mut numbers, seed)),
            3 => a_short_context(own),
            4..6 if !pieces.is_empty() => {
                let piece = pieces.swap_remove(numbers.below(pieces.len()));
                piece.end();
            }
            _ => pieces.iter().for_each(Piece::check),
        }
    }
    pieces.into_iter().for_each(Piece::end);
}

fn a_short_context(own: CUcontext) {
    let mut context = std::ptr::null_mut();
    // SAFETY: this function's variable.
    ok(unsafe { cuCtxCreate_v2(&raw mut context, 0, 0) });
    alloc(2 * MIB);
    // SAFETY: no pointers.
    ok(unsafe { cuCtxDestroy_v2(context) });
    set_current(own);
}

/// With the gate closed.
fn move_once() {
    let mut draining = gate::drain().expect("nobody else closes the gate");
    let closed = loop {
        match draining.close() {
            Ok(closed) => break closed,
            Err(again) => draining = again,
        }
        std::thread::yield_now();
    };
    go();
    drop(closed);
}

#[test]
fn a_program_that_does_all_at_once_notices_nothing() {
    over_stub(
        "storm::a_program_that_does_all_at_once_notices_nothing",
        "",
        || {
            primary(0);
            let before = free_bytes();
            let (stop, steps) = (AtomicBool::new(false), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                let programs: Vec<_> = (1..4)
                    .map(|seed| {
                        let (stop, steps) = (&stop, &steps);
                        scope.spawn(move || program(seed, stop, steps))
                    })
                    .collect();
                for _ in 0..MOVES {
                    let before = steps.load(Ordering::Relaxed);
                    let goes_on = || programs.iter().all(|program| !program.is_finished());
                    // Beside the program: whatever is there, or was.
                    while steps.load(Ordering::Relaxed) < before + STEPS && goes_on() {
                        memory::blocks()
                            .iter()
                            .for_each(|block| drop(contents(block)));
                    }
                    move_once();
                    if programs.iter().any(|program| program.is_finished()) {
                        break;
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
            assert!(memory::blocks().is_empty());
            assert_eq!(memory::left().device, 0);
            assert_eq!(free_bytes(), before);
        },
    );
}
