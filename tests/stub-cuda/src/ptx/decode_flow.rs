//! Branches, calls, barriers, and what lanes tell each other.

use super::code::*;
use super::decode::Decoder;
use super::syntax::{Instruction as Statement, Operand};
use super::types::{Class, Type};
use crate::abi::{CUDA_ERROR_ASSERT, CUDA_ERROR_LAUNCH_FAILED};

const WORD: Type = Type {
    class: Class::Bits,
    size: 4,
};

impl Decoder<'_> {
    /// Decodes what is about the flow of a program. False for other instructions.
    pub fn flow(
        &mut self,
        guard: Option<Predicate>,
        statement: &Statement,
    ) -> Result<bool, String> {
        let operands = &statement.operands;
        let unknown = || format!("instruction {} is not known", statement.text());
        let operation = match statement.name[0].as_str() {
            "bra" => match operands.first() {
                Some(Operand::Name(label)) => Operation::Branch(self.label(label)),
                _ => return Err(unknown()),
            },
            "brx" => {
                let (Some(index), Some(Operand::Name(table))) = (operands.first(), operands.get(1))
                else {
                    return Err(unknown());
                };
                let labels = self
                    .targets(table)
                    .ok_or_else(|| format!("{table} is not known"))?;
                let labels = labels.iter().map(|label| self.label(label)).collect();
                Operation::BranchTable(self.value(index, WORD)?, labels)
            }
            "call" => return self.call(guard, operands).map(|()| true),
            "ret" => match self.end {
                Some(end) => Operation::Branch(end),
                None => Operation::Exit,
            },
            "exit" => Operation::Exit,
            "trap" | "brkpt" => Operation::Trap(CUDA_ERROR_LAUNCH_FAILED),
            "bar" | "barrier" => self.barrier(statement)?.ok_or_else(unknown)?,
            "shfl" => self.shuffle(statement)?.ok_or_else(unknown)?,
            "vote" => self.vote(statement)?.ok_or_else(unknown)?,
            "activemask" => Operation::ActiveMask(self.target(&operands[0])?.0),
            "match" if statement.has("any") => {
                let kind = statement
                    .name
                    .last()
                    .and_then(|part| Type::parse(part))
                    .unwrap_or(WORD);
                Operation::Match {
                    to: self.target(&operands[0])?.0,
                    from: self.value(&operands[1], kind)?,
                }
            }
            "membar" | "fence" | "prefetch" | "prefetchu" | "griddepcontrol" | "nanosleep"
            | "discard" | "applypriority" | "pmevent" => Operation::Nothing,
            _ => return Ok(false),
        };
        self.emit(guard, operation);
        Ok(true)
    }

    fn call(&mut self, guard: Option<Predicate>, operands: &[Operand]) -> Result<(), String> {
        let (returns, rest) = match operands.split_first() {
            Some((Operand::Group(returns), rest)) => (&returns[..], rest),
            _ => (&[][..], operands),
        };
        let (Some(Operand::Name(name)), arguments) = (rest.first(), rest.get(1)) else {
            return Err("a call of a pointer is not known".to_owned());
        };
        let arguments = match arguments {
            Some(Operand::Group(arguments)) => &arguments[..],
            _ => &[],
        };
        match name.as_str() {
            // Nothing is printed.
            "vprintf" => self.emit(guard, Operation::Nothing),
            "__assertfail" => self.emit(guard, Operation::Trap(CUDA_ERROR_ASSERT)),
            name => {
                if let Some(guard) = guard {
                    let behind = self.label(&format!("behind {}", self.code.len()));
                    let not = Predicate {
                        is_negated: !guard.is_negated,
                        ..guard
                    };
                    self.emit(Some(not), Operation::Branch(behind));
                    self.inline(name, returns, arguments)?;
                    self.place_label(behind);
                } else {
                    self.inline(name, returns, arguments)?;
                }
            }
        }
        Ok(())
    }

    fn barrier(&mut self, statement: &Statement) -> Result<Option<Operation>, String> {
        let operands = &statement.operands;
        if statement.has("warp") {
            return Ok(Some(Operation::Nothing));
        }
        if statement.has("red") {
            let (Some(to), Some(of)) = (operands.first(), operands.last()) else {
                return Ok(None);
            };
            let of = self.predicate(of)?;
            return Ok(Some(match statement.has("popc") {
                true => {
                    let (to, _) = self.target(to)?;
                    Operation::BarrierVote {
                        vote: Vote::Ballot,
                        of,
                        counts: Some(to),
                        to: 0,
                    }
                }
                false => {
                    let vote = if statement.has("or") {
                        Vote::Any
                    } else {
                        Vote::All
                    };
                    let to = self.predicate(to)?.number;
                    Operation::BarrierVote {
                        vote,
                        of,
                        counts: None,
                        to,
                    }
                }
            }));
        }
        Ok((statement.has("sync") || statement.name.len() == 1).then_some(Operation::Barrier))
    }

    fn shuffle(&mut self, statement: &Statement) -> Result<Option<Operation>, String> {
        let mode = match statement.name.iter().rev().nth(1).map(String::as_str) {
            Some("up") => Shuffle::Up,
            Some("down") => Shuffle::Down,
            Some("bfly") => Shuffle::Butterfly,
            Some("idx") => Shuffle::Index,
            _ => return Ok(None),
        };
        let operands = &statement.operands;
        let (to, valid) = match &operands[0] {
            Operand::Pair(to, valid) => {
                let valid = self.predicate(&Operand::Name(valid.clone()))?.number;
                (self.target(&Operand::Name(to.clone()))?.0, Some(valid))
            }
            to => (self.target(to)?.0, None),
        };
        let from = [
            self.value(&operands[1], WORD)?,
            self.value(&operands[2], WORD)?,
            self.value(&operands[3], WORD)?,
        ];
        Ok(Some(Operation::Shuffle {
            mode,
            to,
            valid,
            from,
        }))
    }

    fn vote(&mut self, statement: &Statement) -> Result<Option<Operation>, String> {
        let vote = match statement.name.iter().rev().nth(1).map(String::as_str) {
            Some("all") => Vote::All,
            Some("any") => Vote::Any,
            Some("uni") => Vote::Uniform,
            Some("ballot") => Vote::Ballot,
            _ => return Ok(None),
        };
        let of = self.predicate(&statement.operands[1])?;
        let to = match vote {
            Vote::Ballot => self.target(&statement.operands[0])?.0,
            _ => self.predicate(&statement.operands[0])?.number,
        };
        Ok(Some(Operation::Vote { vote, of, to }))
    }
}
