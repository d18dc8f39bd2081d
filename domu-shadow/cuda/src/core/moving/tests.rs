//! A program's calls, on a plain driver and on ours over another: both show the same memory, however often ours goes and comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::ordinary::RESERVATIONS;
use super::*;
use crate::abi::*;
use crate::core::block::{Block, Place};
use crate::core::context::Context;
use crate::core::ending::take_apart;
use crate::core::fake::{Fake, GRANULE, Mapped};
use crate::core::ordinary::{Allocation, Backing};
use crate::driver::vm::{Answer, Properties, Value, read_write};

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
    allocations: Vec<u64>,
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
        let at = self.allocations.remove(index % self.allocations.len());
        assert_eq!(self.plain.free(at), Ok(()));
        let allocation = self.state.allocations.remove(at).unwrap();
        if allocation.ordinary().is_some_and(|o| o.is_converted()) {
            take_apart(at, &allocation, &self.ours);
        } else {
            assert_eq!(self.ours.free(at), Ok(()));
        }
    }

    fn go(&mut self, out: Option<u32>, back: Option<u32>) {
        self.ours.fail_after(out);
        let gone = detach(&mut self.state, &self.ours);
        self.ours.fail_after(None);
        if gone.is_ok() {
            assert!(self.ours.mapped().is_empty(), "something is still mapped");
            assert_eq!(self.ours.in_use(), (self.carried(), 0));
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

    /// Bytes that the driver carries.
    fn carried(&self) -> u64 {
        self.ours.allocated().values().sum()
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
                let at = self.plain.alloc(size).unwrap();
                assert_eq!(self.ours.alloc(size), Ok(at));
                let allocation = Allocation::new(at, size, Arc::clone(&self.context));
                self.state.allocations.insert(at, allocation);
                self.allocations.push(at);
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
        let mut mapped = self.ours.mapped();
        for (at, size) in self.plain.allocated() {
            // Allocated, or mapped by us for its device.
            let is_there = self.ours.allocated().get(&at) == Some(&size)
                || mapped.remove(&at).is_some_and(|mapped| {
                    let access = BTreeMap::from([(0, CU_MEM_ACCESS_FLAGS_PROT_READWRITE)]);
                    mapped.size == size && mapped.access.iter().all(|a| *a == access)
                });
            assert!(is_there, "memory at {at:#x} is missing");
        }
        assert_eq!(named(self.plain.mapped()), named(mapped));
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
fn an_address_that_cannot_be_reserved_is_allocated_again() {
    let mut both = Both::new();
    both.run(&Op::Alloc(4 << 20));
    both.ours.refuse(RESERVATIONS);
    both.run(&Op::Move {
        out: None,
        back: None,
    });
    let at = both.allocations[0];
    let ordinary = both
        .state
        .allocations
        .get(at)
        .and_then(Allocation::ordinary);
    assert_eq!(ordinary.map(|o| o.backing), Some(Backing::Kept));
    // It is asked for no more.
    both.run(&Op::Move {
        out: None,
        back: None,
    });
    both.run(&Op::Free(0));
    assert_eq!(both.ours.in_use().0, 0);
}

#[test]
fn memory_with_a_neighbour_in_its_granule_stays() {
    let mut both = Both::new();
    both.run(&Op::Alloc(4 << 20));
    let at = both.allocations[0];
    // A small one in the granule that the first one only begins, as no driver has done yet.
    let first = both.state.allocations.remove(at).unwrap();
    let shorter = Allocation::new(at, 3 << 20, first.context);
    both.state.allocations.insert(at, shorter);
    both.ours.share(at, 3 << 20);
    assert_eq!(detach(&mut both.state, &both.ours), Ok(()));
    assert_eq!(both.state.allocations.left(), 3 << 20);
    assert!(both.ours.allocated().contains_key(&at));
    assert_eq!(attach(&mut both.state, &both.ours), Ok(()));
    both.state.allocations.remove(at);
    assert_eq!(both.state.allocations.left(), 0);
}

#[test]
fn a_lost_address_is_an_error_that_names_it_and_the_rest_goes() {
    let mut both = Both::new();
    both.run(&Op::Alloc(4 << 20));
    both.run(&Op::Alloc(2 << 20));
    let (first, second) = (both.allocations[0], both.allocations[1]);
    // Somebody else takes the first one's place the moment that it is free.
    let taken = Taker {
        driver: &both.ours,
        at: first,
    };
    let lost = detach(&mut both.state, &taken);
    assert_eq!(
        lost,
        Err(MemoryError::AddressLost {
            at: first,
            bytes: 4 << 20
        })
    );
    assert!(
        !both.ours.allocated().contains_key(&second),
        "the other one is away"
    );
    assert_eq!(attach(&mut both.state, &both.ours), lost);
    assert!(both.ours.is_mapped(second));
    // It is given up again: all is well.
    both.ours.unreserve(first, 1 << 21).unwrap();
    assert_eq!(attach(&mut both.state, &both.ours), Ok(()));
    both.compare();
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

/// Reserves part of what is freed at one address.
struct Taker<'a> {
    driver: &'a Fake,
    at: u64,
}

impl Vm for Taker<'_> {
    fn enter(&self, context: usize) -> Answer<()> {
        self.driver.enter(context)
    }
    fn leave(&self) {
        self.driver.leave();
    }
    fn synchronize(&self) -> Answer<()> {
        self.driver.synchronize()
    }
    fn alloc(&self, bytes: usize) -> Answer<CUdeviceptr> {
        self.driver.alloc(bytes)
    }
    fn free(&self, at: CUdeviceptr) -> Answer<()> {
        self.driver.free(at)?;
        if at == self.at {
            self.driver.reserve(1 << 21, at)?;
        }
        Ok(())
    }
    fn around(&self, at: CUdeviceptr) -> Answer<(CUdeviceptr, usize)> {
        self.driver.around(at)
    }
    fn reserve(&self, bytes: usize, wanted: CUdeviceptr) -> Answer<CUdeviceptr> {
        self.driver.reserve(bytes, wanted)
    }
    fn unreserve(&self, at: CUdeviceptr, bytes: usize) -> Answer<()> {
        self.driver.unreserve(at, bytes)
    }
    fn create(&self, bytes: usize, properties: &Properties, flags: u64) -> Answer<u64> {
        self.driver.create(bytes, properties, flags)
    }
    fn release(&self, handle: u64) -> Answer<()> {
        self.driver.release(handle)
    }
    fn map(
        &self,
        at: CUdeviceptr,
        bytes: usize,
        offset: usize,
        handle: u64,
        flags: u64,
    ) -> Answer<()> {
        self.driver.map(at, bytes, offset, handle, flags)
    }
    fn unmap(&self, at: CUdeviceptr, bytes: usize) -> Answer<()> {
        self.driver.unmap(at, bytes)
    }
    fn set_access(&self, at: CUdeviceptr, bytes: usize, access: &[CUmemAccessDesc]) -> Answer<()> {
        self.driver.set_access(at, bytes, access)
    }
    fn is_reached(&self, event: usize) -> bool {
        self.driver.is_reached(event)
    }
    fn set_sync_memops(&self, at: CUdeviceptr, on: bool) -> Answer<()> {
        self.driver.set_sync_memops(at, on)
    }
    fn attribute(&self, attribute: u32, at: CUdeviceptr) -> Answer<Value> {
        self.driver.attribute(attribute, at)
    }
}
