//! A warp: 32 lanes that run together where they are at the same place; those that are behind run first.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::abi::*;

use super::access::{self, Memory};
use super::arithmetic::insert;
use super::atomic;
use super::code::*;
use super::types::{Class, Type, cut, extend};

/// Lanes at one place.
#[derive(Clone, Copy, Debug)]
struct Group {
    at: usize,
    lanes: u32,
}

/// Why a warp has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Its share of time is over.
    Later,
    /// All its lanes that are left wait at a barrier.
    Barrier,
    Done,
}

/// What lanes bring to a barrier.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub lanes: u32,
    pub holds: u32,
}

/// Where the warp is: sizes and positions, in x, y, z.
pub struct Position {
    pub block: [u32; 3],
    pub blocks: [u32; 3],
    pub threads: [u32; 3],
    pub warp: u32,
    pub dynamic_shared: u32,
}

pub struct Warp {
    registers: Vec<Lanes>,
    predicates: Vec<u32>,
    carry: u32,
    groups: Vec<Group>,
    /// At the barrier.
    waiting: Vec<Group>,
    /// Who gets the result of the barrier.
    voters: Vec<(Vote, Option<u32>, u32, u32)>,
    pub count: Count,
    pub position: Position,
    executed: u64,
}

impl Warp {
    pub fn new(kernel: &Kernel, position: Position) -> Warp {
        let threads: u32 = position.threads.iter().product();
        let lanes = (threads - position.warp * LANES as u32).min(LANES as u32);
        let mut registers = vec![[0; LANES]; kernel.registers];
        for (register, value) in &kernel.constants {
            registers[*register as usize] = [*value; LANES];
        }
        Warp {
            registers,
            predicates: vec![0; kernel.predicates],
            carry: 0,
            groups: vec![Group {
                at: 0,
                lanes: u32::MAX >> (LANES as u32 - lanes),
            }],
            waiting: Vec::new(),
            voters: Vec::new(),
            count: Count::default(),
            position,
            executed: 0,
        }
    }

    /// All have come to the barrier, with these results.
    pub fn release(&mut self, count: Count) {
        self.groups.append(&mut self.waiting);
        for (vote, counts, to, lanes) in std::mem::take(&mut self.voters) {
            match counts {
                Some(register) => self.set(register, lanes, |_| count.holds.into()),
                None => {
                    let holds = match vote {
                        Vote::Any => count.holds > 0,
                        _ => count.holds == count.lanes,
                    };
                    self.set_predicate(to, lanes, if holds { lanes } else { 0 });
                }
            }
        }
        self.count = Count::default();
    }

    fn set(&mut self, register: u32, lanes: u32, value: impl Fn(usize) -> u64) {
        let register = &mut self.registers[register as usize];
        for (lane, slot) in register.iter_mut().enumerate() {
            if lanes >> lane & 1 != 0 {
                *slot = value(lane);
            }
        }
    }

    fn set_predicate(&mut self, number: u32, lanes: u32, values: u32) {
        let predicate = &mut self.predicates[number as usize];
        *predicate = *predicate & !lanes | values & lanes;
    }

    fn holds(&self, predicate: Predicate) -> u32 {
        let values = self.predicates[predicate.number as usize];
        if predicate.is_negated {
            !values
        } else {
            values
        }
    }

    /// Runs until it stops, or for so many instructions.
    ///
    /// # Errors
    /// The fault of the context.
    pub fn run(
        &mut self,
        kernel: &Kernel,
        memory: &mut Memory,
        mut budget: u64,
    ) -> Outcome<Stopped> {
        loop {
            let Some(nth) = (0..self.groups.len()).min_by_key(|&nth| self.groups[nth].at) else {
                return Ok(match self.waiting.is_empty() {
                    true => Stopped::Done,
                    false => Stopped::Barrier,
                });
            };
            let group = self.groups.swap_remove(nth);
            let others = self
                .groups
                .iter()
                .map(|group| group.at)
                .min()
                .unwrap_or(usize::MAX);
            self.run_group(kernel, memory, group, others, &mut budget)?;
            if budget == 0 {
                return Ok(Stopped::Later);
            }
        }
    }

    /// Runs lanes until they part, end, wait, or come to where others are.
    fn run_group(
        &mut self,
        kernel: &Kernel,
        memory: &mut Memory,
        group: Group,
        others: usize,
        budget: &mut u64,
    ) -> Outcome<()> {
        let Group { mut at, lanes } = group;
        loop {
            if at >= others || *budget == 0 {
                self.join(at, lanes);
                return Ok(());
            }
            *budget -= 1;
            self.executed += 1;
            let instruction = &kernel.code[at];
            let mask = match instruction.guard {
                Some(guard) => lanes & self.holds(guard),
                None => lanes,
            };
            if mask == 0 {
                at += 1;
                continue;
            }
            match &instruction.operation {
                Operation::Branch(target) => {
                    if mask != lanes {
                        self.join(*target, mask);
                        self.join(at + 1, lanes & !mask);
                        return Ok(());
                    }
                    at = *target;
                    continue;
                }
                Operation::BranchTable(index, targets) => {
                    let index = self.registers[*index as usize];
                    for lane in (0..LANES).filter(|lane| mask >> lane & 1 != 0) {
                        let target = targets
                            .get(index[lane] as usize)
                            .ok_or(CUDA_ERROR_INVALID_PC)?;
                        self.join(*target, 1 << lane);
                    }
                    self.join(at + 1, lanes & !mask);
                    return Ok(());
                }
                Operation::Exit => {
                    self.join(at + 1, lanes & !mask);
                    return Ok(());
                }
                Operation::Trap(code) => return Err(*code),
                Operation::Barrier => {
                    self.waiting.push(Group {
                        at: at + 1,
                        lanes: mask,
                    });
                    self.join(at + 1, lanes & !mask);
                    return Ok(());
                }
                Operation::BarrierVote {
                    vote,
                    of,
                    counts,
                    to,
                } => {
                    self.count.lanes += mask.count_ones();
                    self.count.holds += (self.holds(*of) & mask).count_ones();
                    self.voters.push((*vote, *counts, *to, mask));
                    self.waiting.push(Group {
                        at: at + 1,
                        lanes: mask,
                    });
                    self.join(at + 1, lanes & !mask);
                    return Ok(());
                }
                operation => self.step(operation, memory, mask)?,
            }
            at += 1;
        }
    }

    /// Lanes are at a place.
    fn join(&mut self, at: usize, lanes: u32) {
        if lanes == 0 {
            return;
        }
        match self.groups.iter_mut().find(|group| group.at == at) {
            Some(group) => group.lanes |= lanes,
            None => self.groups.push(Group { at, lanes }),
        }
    }

    fn step(&mut self, operation: &Operation, memory: &mut Memory, mask: u32) -> Outcome<()> {
        match operation {
            Operation::One(run, to, from) => run(&mut self.registers, *to, *from, mask),
            Operation::Two(run, to, from) => run(&mut self.registers, *to, *from, mask),
            Operation::Three(run, to, from) => run(&mut self.registers, *to, *from, mask),
            Operation::Load { address, kind, to } => {
                return self.load(memory, *address, *kind, to, mask);
            }
            Operation::Store {
                address,
                size,
                from,
            } => return self.store(memory, *address, *size, from, mask),
            Operation::Atomic {
                address,
                operation,
                kind,
                to,
                from,
            } => {
                memory.begin();
                let base = self.registers[address.base as usize];
                let [b, c] = from.map(|from| self.registers[from as usize]);
                for lane in (0..LANES).filter(|lane| mask >> lane & 1 != 0) {
                    let at = base[lane].wrapping_add_signed(address.offset);
                    let own = self.lane(lane);
                    let place = memory.place(address.space, at, kind.size.into(), own, true)?;
                    let old = atomic::run(place, *operation, *kind, b[lane], c[lane]);
                    if let Some(to) = to {
                        self.registers[*to as usize][lane] = old;
                    }
                }
            }
            Operation::Compare {
                compare,
                from,
                combine,
                to,
                other,
            } => {
                let found = self.compare(*compare, *from);
                let with = |found: u32| match combine {
                    Some((logic, predicate)) => combined(*logic, found, self.holds(*predicate)),
                    None => found,
                };
                let (first, second) = (with(found), with(!found));
                self.set_predicate(*to, mask, first);
                if let Some(other) = other {
                    self.set_predicate(*other, mask, second);
                }
            }
            Operation::CompareTo {
                compare,
                from,
                combine,
                value,
                to,
            } => {
                let mut found = self.compare(*compare, *from);
                if let Some((logic, predicate)) = combine {
                    found = combined(*logic, found, self.holds(*predicate));
                }
                self.set(
                    *to,
                    mask,
                    |lane| if found >> lane & 1 != 0 { *value } else { 0 },
                );
            }
            Operation::Select(to, [a, b], predicate) => {
                let holds = self.holds(*predicate);
                let (a, b) = (self.registers[*a as usize], self.registers[*b as usize]);
                self.set(*to, mask, |lane| {
                    if holds >> lane & 1 != 0 {
                        a[lane]
                    } else {
                        b[lane]
                    }
                });
            }
            Operation::Logic(logic, to, [a, b]) => {
                let value = combined(*logic, self.holds(*a), self.holds(*b));
                self.set_predicate(*to, mask, value);
            }
            Operation::MovePredicate(to, from) => self.set_predicate(*to, mask, self.holds(*from)),
            Operation::SetPredicate(to, value) => {
                self.set_predicate(*to, mask, if *value { mask } else { 0 })
            }
            Operation::Convert(conversion, to, from) => {
                let from = self.registers[*from as usize];
                self.set(*to, mask, |lane| conversion.of(from[lane]));
            }
            Operation::Special(to, special) => self.special(*to, *special, mask),
            Operation::Insert(kind, to, from) => {
                let [a, b, c, d] = from.map(|from| self.registers[from as usize]);
                self.set(*to, mask, |lane| {
                    insert(a[lane], b[lane], c[lane], d[lane], kind.size)
                });
            }
            Operation::Table(to, from, table) => {
                let [a, b, c] = from.map(|from| self.registers[from as usize]);
                self.set(*to, mask, |lane| look_up(*table, a[lane], b[lane], c[lane]));
            }
            Operation::Carry {
                is_subtraction,
                reads,
                writes,
                size,
                to,
                from,
            } => {
                self.carrying((*is_subtraction, *reads, *writes), *size, *to, *from, mask);
            }
            Operation::Pack { to, parts, size } => {
                let parts: Vec<Lanes> = parts
                    .iter()
                    .map(|part| self.registers[*part as usize])
                    .collect();
                let bits = 8 * u32::from(*size);
                let value = |lane: usize| {
                    let mut value = 0;
                    for part in parts.iter().rev() {
                        value = value << bits | cut(part[lane], *size);
                    }
                    value
                };
                self.set(*to, mask, value);
            }
            Operation::Unpack { parts, from, size } => {
                let from = self.registers[*from as usize];
                for (nth, to) in parts.iter().enumerate() {
                    if let Some(to) = to {
                        let shift = 8 * usize::from(*size) * nth;
                        self.set(*to, mask, |lane| cut(from[lane] >> shift, *size));
                    }
                }
            }
            Operation::Shuffle {
                mode,
                to,
                valid,
                from,
            } => self.shuffle(*mode, *to, *valid, *from, mask),
            Operation::Vote { vote, of, to } => {
                let holds = self.holds(*of) & mask;
                let result = match vote {
                    Vote::Ballot => {
                        self.set(*to, mask, |_| holds.into());
                        return Ok(());
                    }
                    Vote::All => holds == mask,
                    Vote::Any => holds != 0,
                    Vote::Uniform => holds == 0 || holds == mask,
                };
                self.set_predicate(*to, mask, if result { mask } else { 0 });
            }
            Operation::ActiveMask(to) => self.set(*to, mask, |_| mask.into()),
            Operation::Match { to, from } => {
                let from = self.registers[*from as usize];
                let same = |lane: usize| {
                    let lanes = (0..LANES)
                        .filter(|other| mask >> other & 1 != 0 && from[*other] == from[lane]);
                    lanes.fold(0, |same, other| same | 1 << other)
                };
                self.set(*to, mask, same);
            }
            // Handled by `run_group`.
            Operation::Nothing
            | Operation::Branch(_)
            | Operation::BranchTable(..)
            | Operation::Exit
            | Operation::Trap(_)
            | Operation::Barrier
            | Operation::BarrierVote { .. } => {}
        }
        Ok(())
    }

    fn compare(&self, compare: Compare, from: [u32; 2]) -> u32 {
        compare(
            &self.registers[from[0] as usize],
            &self.registers[from[1] as usize],
        )
    }

    /// A lane's number in its block.
    fn lane(&self, lane: usize) -> usize {
        self.position.warp as usize * LANES + lane
    }

    fn load(
        &mut self,
        memory: &mut Memory,
        address: Address,
        kind: Type,
        to: &[Option<(u32, u8)>],
        mask: u32,
    ) -> Outcome<()> {
        memory.begin();
        let base = self.registers[address.base as usize];
        let size = usize::from(kind.size);
        let all = size * to.len();
        for (lane, base) in base.into_iter().enumerate() {
            if mask >> lane & 1 == 0 {
                continue;
            }
            let at = base.wrapping_add_signed(address.offset);
            let own = self.position.warp as usize * LANES + lane;
            let place = memory.place(address.space, at, all, own, false)?;
            for (nth, to) in to.iter().enumerate() {
                if let Some((register, width)) = to {
                    let value = access::read(place + nth * size, kind.size);
                    self.registers[*register as usize][lane] = match kind.class {
                        Class::Signed => cut(extend(value, kind.size) as u64, *width),
                        _ => value,
                    };
                }
            }
        }
        Ok(())
    }

    fn store(
        &mut self,
        memory: &mut Memory,
        address: Address,
        size: u8,
        from: &[u32],
        mask: u32,
    ) -> Outcome<()> {
        memory.begin();
        let all = usize::from(size) * from.len();
        for lane in 0..LANES {
            if mask >> lane & 1 == 0 {
                continue;
            }
            let at =
                self.registers[address.base as usize][lane].wrapping_add_signed(address.offset);
            let own = self.position.warp as usize * LANES + lane;
            let place = memory.place(address.space, at, all, own, true)?;
            for (nth, register) in from.iter().enumerate() {
                let value = self.registers[*register as usize][lane];
                access::write(place + nth * usize::from(size), size, value);
            }
        }
        Ok(())
    }

    fn special(&mut self, to: u32, special: Special, mask: u32) {
        let threads = self.position.threads;
        let first = self.position.warp * LANES as u32;
        let fixed = match special {
            Special::Thread(axis) => {
                let of = |lane: usize| {
                    let thread = first + lane as u32;
                    match axis {
                        0 => thread % threads[0],
                        1 => thread / threads[0] % threads[1],
                        _ => thread / (threads[0] * threads[1]),
                    }
                };
                return self.set(to, mask, |lane| of(lane).into());
            }
            Special::Lane => return self.set(to, mask, |lane| lane as u64),
            Special::LaneMask(relation) => {
                let of = |lane: usize| {
                    let at = 1_u64 << lane;
                    let below = at - 1;
                    match relation {
                        Relation::Below => below,
                        Relation::UpTo => below | at,
                        Relation::At => at,
                        Relation::From => !below & 0xffff_ffff,
                        Relation::Above => !(below | at) & 0xffff_ffff,
                    }
                };
                return self.set(to, mask, of);
            }
            Special::ThreadCount(axis) => threads[axis as usize].into(),
            Special::Block(axis) => self.position.block[axis as usize].into(),
            Special::BlockCount(axis) => self.position.blocks[axis as usize].into(),
            Special::Warp => self.position.warp.into(),
            Special::WarpCount => u64::from(threads.iter().product::<u32>().div_ceil(LANES as u32)),
            Special::Clock => self.executed,
            Special::Time => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |time| time.as_nanos() as u64),
            Special::DynamicShared => self.position.dynamic_shared.into(),
            Special::Zero => 0,
            Special::One => 1,
            Special::WarpSize => LANES as u64,
        };
        self.set(to, mask, |_| fixed);
    }

    fn shuffle(&mut self, mode: Shuffle, to: u32, valid: Option<u32>, from: [u32; 3], mask: u32) {
        let [a, b, c] = from.map(|from| self.registers[from as usize]);
        let mut valid_lanes = 0;
        let mut result = a;
        for lane in 0..LANES as u64 {
            let (b, c) = (b[lane as usize] & 0x1f, c[lane as usize]);
            let segment = c >> 8 & 0x1f;
            let clamp = c & 0x1f;
            let last = lane & segment | clamp & !segment & 0x1f;
            let first = lane & segment;
            let (source, is_valid) = match mode {
                Shuffle::Up => (lane.wrapping_sub(b), lane as i64 - b as i64 >= last as i64),
                Shuffle::Down => (lane + b, lane + b <= last),
                Shuffle::Butterfly => (lane ^ b, lane ^ b <= last),
                Shuffle::Index => {
                    let source = first | b & !segment & 0x1f;
                    (source, source <= last)
                }
            };
            if is_valid {
                valid_lanes |= 1 << lane;
                result[lane as usize] = a[source as usize & 0x1f];
            }
        }
        self.set(to, mask, |lane| result[lane]);
        if let Some(valid) = valid {
            self.set_predicate(valid, mask, valid_lanes);
        }
    }

    fn carrying(
        &mut self,
        (is_subtraction, reads, writes): (bool, bool, bool),
        size: u8,
        to: u32,
        from: [u32; 2],
        mask: u32,
    ) {
        let [a, b] = from.map(|from| self.registers[from as usize]);
        let bits = 8 * u32::from(size);
        for lane in (0..LANES).filter(|lane| mask >> lane & 1 != 0) {
            let carry = i128::from(reads && self.carry >> lane & 1 != 0);
            let (a, b) = (i128::from(a[lane]), i128::from(b[lane]));
            let sum = if is_subtraction {
                a - b - carry
            } else {
                a + b + carry
            };
            self.registers[to as usize][lane] = cut(sum as u64, size);
            if writes {
                let carries = sum < 0 || sum >> bits != 0;
                self.carry = self.carry & !(1 << lane) | u32::from(carries) << lane;
            }
        }
    }
}

fn combined(logic: Logic, a: u32, b: u32) -> u32 {
    match logic {
        Logic::And => a & b,
        Logic::Or => a | b,
        Logic::Xor => a ^ b,
    }
}

fn look_up(table: u8, a: u64, b: u64, c: u64) -> u64 {
    let mut value = 0;
    for nth in 0..8_u64 {
        if table >> nth & 1 != 0 {
            let pick = |value: u64, bit: u64| if nth >> bit & 1 != 0 { value } else { !value };
            value |= pick(a, 2) & pick(b, 1) & pick(c, 0);
        }
    }
    cut(value, 4)
}
