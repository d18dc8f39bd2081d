//! A program's calls, on a plain driver and on ours over another: both show the same memory, however often ours goes and comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::abi::*;
use crate::core::block::{Block, Place};
use crate::core::context::Context;
use crate::core::ending::take_apart;
use crate::core::fake::{Fake, GRANULE, Mapped};
use crate::driver::vm::{Properties, read_write};

/// Where the program's reservation lies, and how many granules it has.
const BASE: u64 = 0x20_0000_0000;
const GRANULES: u64 = 24;
const HANDLES: usize = 6;

#[derive(Clone, Debug)]
enum Op {
    Create {
        place: usize,
        granules: u64,
    },
    Release(usize),
    Retain {
        place: usize,
        at: u64,
    },
    Map {
        handle: usize,
        at: u64,
        granules: u64,
        offset: u64,
    },
    Unmap {
        at: u64,
        granules: u64,
    },
    SetAccess {
        at: u64,
        granules: u64,
        device: i32,
        flags: u32,
    },
    Alloc(usize),
    Free(usize),
    Window(usize),
    /// Calls after which the driver fails once on the way out, and on the way back.
    Move {
        out: Option<u32>,
        back: Option<u32>,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let handle = 0..HANDLES;
    let at = 0..GRANULES;
    let flags = prop_oneof![
        Just(CU_MEM_ACCESS_FLAGS_PROT_NONE),
        Just(CU_MEM_ACCESS_FLAGS_PROT_READ),
        Just(CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
    ];
    let calls = || proptest::option::of(0_u32..40);
    prop_oneof![
        3 => (handle.clone(), 1..5_u64).prop_map(|(place, granules)| Op::Create { place, granules }),
        2 => handle.clone().prop_map(Op::Release),
        1 => (handle.clone(), at.clone()).prop_map(|(place, at)| Op::Retain { place, at }),
        6 => (handle.clone(), at.clone(), 1..5_u64, 0..3_u64)
            .prop_map(|(handle, at, granules, offset)| Op::Map { handle, at, granules, offset: offset.saturating_sub(1) }),
        3 => (at.clone(), 1..7_u64).prop_map(|(at, granules)| Op::Unmap { at, granules }),
        5 => (at, 1..7_u64, 0..3_i32, flags)
            .prop_map(|(at, granules, device, flags)| Op::SetAccess { at, granules, device, flags }),
        2 => (1_usize..10 << 20).prop_map(Op::Alloc),
        2 => (0..8_usize).prop_map(Op::Free),
        1 => handle.prop_map(Op::Window),
        3 => (calls(), calls()).prop_map(|(out, back)| Op::Move { out, back }),
    ]
}

/// The plain driver, ours, and the program's handles with each.
struct Both {
    plain: Fake,
    ours: Fake,
    state: State,
    context: Arc<Context>,
    handles: [(u64, u64); HANDLES],
    /// Where each lies.
    allocations: Vec<(u64, u64)>,
}

fn address(granule: u64) -> u64 {
    BASE + granule * GRANULE
}

fn bytes(granules: u64) -> usize {
    (granules * GRANULE) as usize
}

impl Both {
    fn new() -> Both {
        let (plain, ours) = (Fake::default(), Fake::default());
        for driver in [&plain, &ours] {
            let reserved = driver.reserve(bytes(GRANULES), BASE);
            assert_eq!(reserved, Ok(BASE));
        }
        let mut state = State::default();
        let context = state.contexts.note(1 as CUcontext, 0, 0);
        Both {
            plain,
            ours,
            state,
            context,
            handles: [(0, 0); HANDLES],
            allocations: Vec::new(),
        }
    }

    fn create(&mut self, place: usize, granules: u64) {
        let properties = Properties::of_device(0);
        let plain = self.plain.create(bytes(granules), &properties, 0);
        let handle = self.ours.create(bytes(granules), &properties, 0).unwrap();
        let memory = &mut self.state.virtual_memory;
        let token = memory.next_token();
        let block = Block::new(
            Place::Physical(token),
            bytes(granules),
            Arc::clone(&self.context),
        );
        memory.created(
            token,
            Some(Arc::new(block)),
            bytes(granules),
            properties,
            0,
            handle,
        );
        self.handles[place] = (plain.unwrap(), token);
    }

    fn free(&mut self, index: usize) {
        if self.allocations.is_empty() {
            return;
        }
        let (plain, ours) = self.allocations.remove(index % self.allocations.len());
        assert_eq!(self.plain.free(plain), Ok(()));
        let allocation = self.state.allocations.remove(ours).unwrap();
        take_apart(ours, &allocation, &self.ours);
    }

    fn go(&mut self, out: Option<u32>, back: Option<u32>) {
        self.ours.fail_after(out);
        let gone = detach(&mut self.state, &self.ours);
        self.ours.fail_after(None);
        if gone.is_ok() {
            assert!(self.ours.mapped().is_empty(), "something is still mapped");
            assert_eq!(self.ours.in_use(), (0, 0));
        }
        self.ours.fail_after(back);
        let came = attach(&mut self.state, &self.ours);
        self.ours.fail_after(None);
        if came.is_err() {
            assert_eq!(
                attach(&mut self.state, &self.ours),
                Ok(()),
                "the second time goes well"
            );
        }
        assert_eq!(self.ours.in_use().1, 0, "a context is still entered");
    }

    fn run(&mut self, op: &Op) {
        let memory = &mut self.state.virtual_memory;
        match *op {
            Op::Create { place, granules } => self.create(place, granules),
            Op::Release(place) => {
                let (plain, ours) = self.handles[place];
                assert_eq!(self.plain.release(plain), memory.release(ours, &self.ours));
            }
            Op::Retain { place, at } => {
                let plain = self.plain.retain(address(at));
                let ours = memory.retain(address(at)).ok_or(CUDA_ERROR_INVALID_VALUE);
                assert_eq!(plain.is_ok(), ours.is_ok());
                if let (Ok(plain), Ok(ours)) = (plain, ours) {
                    self.handles[place] = (plain, ours);
                }
            }
            Op::Map {
                handle,
                at,
                granules,
                offset,
            } => {
                let (plain, ours) = self.handles[handle];
                let (at, size, offset) = (address(at), bytes(granules), bytes(offset));
                assert_eq!(
                    self.plain.map(at, size, offset, plain, 0),
                    memory.map(at, size, offset, ours, 0, &self.ours)
                );
            }
            Op::Unmap { at, granules } => {
                let (at, size) = (address(at), bytes(granules));
                assert_eq!(
                    self.plain.unmap(at, size),
                    memory.unmap(at, size, &self.ours)
                );
            }
            Op::SetAccess {
                at,
                granules,
                device,
                flags,
            } => {
                let (at, size) = (address(at), bytes(granules));
                let access = [CUmemAccessDesc {
                    flags,
                    ..read_write(device)
                }];
                assert_eq!(
                    self.plain.set_access(at, size, &access),
                    memory.set_access(at, size, &access, &self.ours)
                );
            }
            Op::Alloc(size) => {
                let plain = self.plain.alloc(size).unwrap();
                let (context, properties) = (Arc::clone(&self.context), Properties::of_device(0));
                let made = make(size, context, &properties, &[0], &self.ours);
                let (ours, allocation) = made.unwrap();
                self.state.allocations.insert(ours, allocation);
                self.allocations.push((plain, ours));
            }
            Op::Free(index) => self.free(index),
            Op::Window(place) => {
                let _ = memory.open_window(self.handles[place].1, &self.ours);
            }
            Op::Move { out, back } => self.go(out, back),
        }
        self.compare();
    }

    fn compare(&self) {
        let sizes = self.plain.allocated();
        for (plain, ours) in &self.allocations {
            let mapped = self.ours.mapping(*ours).expect("memory is missing");
            let access = BTreeMap::from([(0, CU_MEM_ACCESS_FLAGS_PROT_READWRITE)]);
            assert_eq!(mapped.size, sizes[plain]);
            assert!(mapped.access.iter().all(|a| *a == access));
        }
        assert_eq!(named(self.plain.mapped()), named(self.ours.mapped()));
    }
}

/// Memory by where it is seen first: its handle is another with each driver.
fn named(mut mapped: BTreeMap<u64, Mapped>) -> BTreeMap<u64, Mapped> {
    let mut names = BTreeMap::new();
    for (at, mapped) in &mut mapped {
        mapped.memory = *names.entry(mapped.memory).or_insert(*at);
    }
    mapped
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn memory_is_the_same_after_any_calls_and_moves(ops in proptest::collection::vec(op(), 1..60)) {
        let mut both = Both::new();
        ops.iter().for_each(|op| both.run(op));
    }
}

#[test]
fn what_the_program_frees_leaves_nothing_behind() {
    let mut both = Both::new();
    both.run(&Op::Create {
        place: 0,
        granules: 4,
    });
    both.run(&Op::Map {
        handle: 0,
        at: 1,
        granules: 2,
        offset: 0,
    });
    both.run(&Op::Window(0));
    both.run(&Op::Alloc(5_000_000));
    both.run(&Op::Move {
        out: None,
        back: None,
    });
    both.run(&Op::Window(0));
    both.run(&Op::Release(0));
    assert_eq!(
        both.ours.in_use().0,
        4 * GRANULE + 6_291_456,
        "still mapped"
    );
    both.run(&Op::Unmap { at: 1, granules: 2 });
    both.run(&Op::Free(0));
    assert_eq!(both.ours.in_use(), (0, 0));
    assert_eq!(both.ours.reserved(), both.plain.reserved());
}

#[test]
fn an_allocation_that_fails_leaves_nothing_behind() {
    for calls in 0..4 {
        let both = Both::new();
        let (context, properties) = (Arc::clone(&both.context), Properties::of_device(0));
        let before = both.ours.reserved();
        both.ours.fail_after(Some(calls));
        let made = make(5_000_000, context, &properties, &[0], &both.ours);
        assert!(made.is_err(), "{calls} calls went well");
        assert_eq!(both.ours.in_use(), (0, 0));
        assert_eq!(both.ours.reserved(), before);
    }
}

#[test]
fn what_others_have_stays_mapped() {
    let mut both = Both::new();
    both.run(&Op::Alloc(3 << 20));
    both.run(&Op::Alloc(2 << 20));
    let (shared, moved) = (both.allocations[0].1, both.allocations[1].1);
    both.state.allocations.share(shared);
    both.state.allocations.share(shared);
    assert_eq!(both.state.allocations.left(), 3 << 20);
    assert_eq!(detach(&mut both.state, &both.ours), Ok(()));
    assert!(both.ours.is_mapped(shared) && !both.ours.is_mapped(moved));
    assert_eq!(attach(&mut both.state, &both.ours), Ok(()));
    both.compare();
    both.run(&Op::Free(0));
    both.run(&Op::Free(0));
    assert_eq!(both.state.allocations.left(), 0);
    assert_eq!(both.ours.in_use(), (0, 0));
}

#[test]
fn memory_in_use_does_not_go() {
    let mut both = Both::new();
    both.run(&Op::Create {
        place: 0,
        granules: 1,
    });
    let (_, physical) = both.state.virtual_memory.physicals().next().unwrap();
    let block = Arc::clone(physical.block.as_ref().unwrap());
    block.add_pin();
    assert_eq!(detach(&mut both.state, &both.ours), Err(MemoryError::InUse));
    block.remove_pin();
    assert_eq!(detach(&mut both.state, &both.ours), Ok(()));
}
