//! Instructions as they are run. Registers are numbers; what is constant stands in registers too.

use super::convert::Conversion;
use super::types::{Space, Type};

pub const LANES: usize = 32;

/// A register's value in each lane, cut to its type's bits.
pub type Lanes = [u64; LANES];

pub type One = fn(&mut [Lanes], u32, u32, u32);
pub type Two = fn(&mut [Lanes], u32, [u32; 2], u32);
pub type Three = fn(&mut [Lanes], u32, [u32; 3], u32);

/// The mask of the lanes in which a comparison holds.
pub type Compare = fn(&Lanes, &Lanes) -> u32;

/// A predicate register, possibly negated.
#[derive(Clone, Copy, Debug)]
pub struct Predicate {
    pub number: u32,
    pub is_negated: bool,
}

/// How predicates are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logic {
    And,
    Or,
    Xor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    Thread(u8),
    ThreadCount(u8),
    Block(u8),
    BlockCount(u8),
    Lane,
    Warp,
    WarpCount,
    Clock,
    Time,
    DynamicShared,
    LaneMask(Relation),
    Zero,
    One,
    WarpSize,
}

/// Lanes below, up to, at, from, above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    Below,
    UpTo,
    At,
    From,
    Above,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    All,
    Any,
    Uniform,
    Ballot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Atomic {
    Add,
    And,
    Or,
    Xor,
    Exchange,
    Compare,
    Min,
    Max,
    Increase,
    Decrease,
}

/// A place in memory: a register's value and bytes further.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    pub space: Space,
    pub base: u32,
    pub offset: i64,
}

pub enum Operation {
    Nothing,
    One(One, u32, u32),
    Two(Two, u32, [u32; 2]),
    Three(Three, u32, [u32; 3]),
    /// Bit field insertion: target; value, into, position, length.
    Insert(Type, u32, [u32; 4]),
    /// `lop3`: target, three values, and which bits of the eight.
    Table(u32, [u32; 3], u8),
    /// Addition or subtraction with the carry of the one before.
    Carry {
        is_subtraction: bool,
        reads: bool,
        writes: bool,
        size: u8,
        to: u32,
        from: [u32; 2],
    },
    Convert(Conversion, u32, u32),
    Compare {
        compare: Compare,
        from: [u32; 2],
        combine: Option<(Logic, Predicate)>,
        to: u32,
        /// Gets the opposite.
        other: Option<u32>,
    },
    /// All ones, or 1.0, where it holds.
    CompareTo {
        compare: Compare,
        from: [u32; 2],
        combine: Option<(Logic, Predicate)>,
        value: u64,
        to: u32,
    },
    Select(u32, [u32; 2], Predicate),
    Logic(Logic, u32, [Predicate; 2]),
    MovePredicate(u32, Predicate),
    /// A constant for all lanes.
    SetPredicate(u32, bool),
    Special(u32, Special),
    /// Parts of `size` bytes each, lowest first.
    Pack {
        to: u32,
        parts: Vec<u32>,
        size: u8,
    },
    Unpack {
        parts: Vec<Option<u32>>,
        from: u32,
        size: u8,
    },
    /// Target registers, with the bytes of each.
    Load {
        address: Address,
        kind: Type,
        to: Vec<Option<(u32, u8)>>,
    },
    Store {
        address: Address,
        size: u8,
        from: Vec<u32>,
    },
    Atomic {
        address: Address,
        operation: Atomic,
        kind: Type,
        to: Option<u32>,
        from: [u32; 2],
    },
    Branch(usize),
    BranchTable(u32, Vec<usize>),
    Exit,
    Trap(i32),
    Barrier,
    /// A barrier that counts or combines predicates: target register or predicate.
    BarrierVote {
        vote: Vote,
        of: Predicate,
        counts: Option<u32>,
        to: u32,
    },
    Shuffle {
        mode: Shuffle,
        to: u32,
        valid: Option<u32>,
        from: [u32; 3],
    },
    Vote {
        vote: Vote,
        of: Predicate,
        to: u32,
    },
    ActiveMask(u32),
    /// Which lanes have the same value.
    Match {
        to: u32,
        from: u32,
    },
}

pub struct Instruction {
    pub guard: Option<Predicate>,
    pub operation: Operation,
}

/// A kernel, decoded.
pub struct Kernel {
    pub name: String,
    pub code: Vec<Instruction>,
    pub registers: usize,
    pub predicates: usize,
    /// Registers that hold constants.
    pub constants: Vec<(u32, u64)>,
    /// Offset and size of each parameter.
    pub parameters: Vec<(usize, usize)>,
    pub parameter_bytes: usize,
    /// Bytes of shared memory that it declares; the launch's begin behind them.
    pub shared: usize,
    /// Bytes of each lane's own memory.
    pub local: usize,
    pub max_threads: u32,
}
