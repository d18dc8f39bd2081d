//! What a module consists of.

use super::types::{Space, Type};

#[derive(Debug, Default)]
pub struct Module {
    pub variables: Vec<Variable>,
    pub functions: Vec<Function>,
}

#[derive(Clone, Debug)]
pub struct Variable {
    pub name: String,
    pub space: Space,
    pub align: u64,
    /// Bytes; 0 for an array of a size that the launch gives.
    pub size: u64,
    pub initial: Vec<Initial>,
    pub is_extern: bool,
}

/// Bytes that a variable begins with.
#[derive(Clone, Debug)]
pub struct Initial {
    pub offset: u64,
    pub size: u8,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    Bits(u64),
    /// The address of a variable, and bytes further.
    Address(String, i64),
}

#[derive(Clone, Debug)]
pub struct Function {
    pub name: String,
    pub is_entry: bool,
    pub parameters: Vec<Variable>,
    pub returns: Vec<Variable>,
    pub body: Option<Vec<Statement>>,
    pub max_threads: Option<u32>,
}

#[derive(Clone, Debug)]
pub enum Statement {
    Label(String),
    /// Registers: names, or a name with a number of them.
    Registers(Type, Vec<(String, Option<u32>)>),
    Variable(Variable),
    Open,
    Close,
    /// Of `brx.idx`.
    Targets(String, Vec<String>),
    Instruction(Instruction),
}

#[derive(Clone, Debug)]
pub struct Instruction {
    /// The predicate that it depends on, and whether on its being false.
    pub guard: Option<(String, bool)>,
    /// The name's parts between dots.
    pub name: Vec<String>,
    pub operands: Vec<Operand>,
    pub line: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Name(String),
    /// `!%p1`.
    Not(String),
    Integer(u64),
    Single(u32),
    Double(u64),
    /// `[name+8]`, `[8]`.
    Memory(Option<String>, i64),
    /// `name+8`.
    Sum(String, i64),
    Vector(Vec<Operand>),
    /// `%r1|%p1`.
    Pair(String, String),
    /// `(a, b)`.
    Group(Vec<Operand>),
}

impl Instruction {
    pub fn has(&self, part: &str) -> bool {
        self.name.iter().any(|own| own == part)
    }

    /// The name as it is written.
    pub fn text(&self) -> String {
        self.name.join(".")
    }
}
