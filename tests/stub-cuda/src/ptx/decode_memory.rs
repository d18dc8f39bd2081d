//! Loads, stores and atomic operations.

use super::code::*;
use super::decode::Decoder;
use super::names::Meaning;
use super::syntax::{Instruction as Statement, Operand};
use super::types::{Space, Type};

/// Parts of names that change nothing here: memory is as strong as can be.
const IGNORED: &[&str] = &[
    "volatile", "relaxed", "acquire", "release", "acq_rel", "sc", "weak", "cta", "cluster", "gpu",
    "sys", "nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "mmio", "global", "const", "shared",
    "local", "param", "v2", "v4", "noftz",
];

impl Decoder<'_> {
    /// Decodes what touches memory. False for other instructions.
    pub fn memory(
        &mut self,
        guard: Option<Predicate>,
        statement: &Statement,
    ) -> Result<bool, String> {
        let first = statement.name[0].as_str();
        if !matches!(first, "ld" | "ldu" | "st" | "atom" | "red") {
            return Ok(false);
        }
        let unknown = || format!("instruction {} is not known", statement.text());
        let (last, parts) = statement.name[1..].split_last().ok_or_else(unknown)?;
        let kind = Type::parse(last)
            .filter(|kind| kind.size > 0)
            .ok_or_else(unknown)?;
        let space = parts
            .iter()
            .find_map(|part| Space::parse(part))
            .unwrap_or(Space::Generic);
        let others: Vec<&str> = parts
            .iter()
            .map(String::as_str)
            .filter(|part| !IGNORED.contains(part) && !part.contains("::"))
            .collect();
        let operands = &statement.operands;
        let operation = match (first, &others[..]) {
            ("ld" | "ldu", []) => {
                let address = self.address(&operands[1], space)?;
                let to = match &operands[0] {
                    Operand::Vector(parts) => parts
                        .iter()
                        .map(|part| self.maybe(part))
                        .collect::<Result<_, _>>()?,
                    one => vec![self.maybe(one)?],
                };
                Operation::Load { address, kind, to }
            }
            ("st", []) => {
                let address = self.address(&operands[0], space)?;
                let from = match &operands[1] {
                    Operand::Vector(parts) => parts
                        .iter()
                        .map(|part| self.value(part, kind))
                        .collect::<Result<_, _>>()?,
                    one => vec![self.value(one, kind)?],
                };
                Operation::Store {
                    address,
                    size: kind.size,
                    from,
                }
            }
            ("atom" | "red", [name]) => {
                let operation = atomic(name).ok_or_else(unknown)?;
                let (to, rest) = match first {
                    "atom" => (Some(self.target(&operands[0])?.0), &operands[1..]),
                    _ => (None, &operands[..]),
                };
                let address = self.address(&rest[0], space)?;
                let b = self.value(rest.get(1).ok_or_else(unknown)?, kind)?;
                let c = match rest.get(2) {
                    Some(value) => self.value(value, kind)?,
                    None => b,
                };
                Operation::Atomic {
                    address,
                    operation,
                    kind,
                    to,
                    from: [b, c],
                }
            }
            _ => return Err(unknown()),
        };
        self.emit(guard, operation);
        Ok(true)
    }

    fn maybe(&mut self, operand: &Operand) -> Result<Option<(u32, u8)>, String> {
        match operand {
            Operand::Name(name) if name == "_" => Ok(None),
            operand => self.target(operand).map(Some),
        }
    }

    fn address(&mut self, operand: &Operand, space: Space) -> Result<Address, String> {
        let Operand::Memory(base, offset) = operand else {
            return Err(format!("{operand:?} is no address"));
        };
        let Some(name) = base else {
            let base = self.names.constant(0);
            return Ok(Address {
                space,
                base,
                offset: *offset,
            });
        };
        match self.find(name)? {
            Meaning::Register(base, _) => Ok(Address {
                space,
                base,
                offset: *offset,
            }),
            Meaning::Variable(own, at) => {
                let base = self.names.constant(0);
                Ok(Address {
                    space: own,
                    base,
                    offset: offset.wrapping_add_unsigned(at),
                })
            }
            Meaning::Dynamic => Ok(Address {
                space: Space::Shared,
                base: self.dynamic(),
                offset: *offset,
            }),
            Meaning::Predicate(_) => Err(format!("{name} is no address")),
        }
    }
}

fn atomic(name: &str) -> Option<Atomic> {
    Some(match name {
        "add" => Atomic::Add,
        "and" => Atomic::And,
        "or" => Atomic::Or,
        "xor" => Atomic::Xor,
        "exch" => Atomic::Exchange,
        "cas" => Atomic::Compare,
        "min" => Atomic::Min,
        "max" => Atomic::Max,
        "inc" => Atomic::Increase,
        "dec" => Atomic::Decrease,
        _ => return None,
    })
}
