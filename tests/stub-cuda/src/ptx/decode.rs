//! Statements to instructions: names become numbers, functions that are called become part of their caller.

use std::collections::HashMap;

use super::arithmetic;
use super::code::*;
use super::compare::compare;
use super::convert::{Conversion, integral};
use super::names::{Meaning, Names};
use super::syntax::{self, Function, Module, Operand, Statement, Variable};
use super::types::{Class, Space, Type};

/// Calls within calls; more is recursion, which is not known.
const DEEPEST: usize = 16;

/// Parts of names that change nothing here.
const IGNORED: &[&str] = &[
    "rn", "rz", "rm", "rp", "ftz", "approx", "full", "uni", "sync", "noftz", "relu", "aligned",
];

/// Decodes a kernel of a module whose variables stand at the addresses.
///
/// # Errors
/// Says which instruction or name is not known.
pub fn decode(
    module: &Module,
    entry: &Function,
    addresses: &HashMap<String, u64>,
) -> Result<Kernel, String> {
    let mut decoder = Decoder {
        module,
        addresses,
        names: Names::default(),
        code: Vec::new(),
        labels: Vec::new(),
        known_labels: HashMap::new(),
        targets: HashMap::new(),
        instance: 0,
        instances: 0,
        depth: 0,
        end: None,
        local: 0,
        shared: 0,
        module_shared: HashMap::new(),
        dynamic: None,
    };
    decoder.names.open();
    let mut offset = 0;
    let mut parameters = Vec::new();
    for parameter in &entry.parameters {
        offset = u64::next_multiple_of(offset, parameter.align.max(1));
        decoder
            .names
            .bind(&parameter.name, Meaning::Variable(Space::Param, offset));
        parameters.push((offset as usize, parameter.size as usize));
        offset += parameter.size;
    }
    decoder
        .function(entry)
        .map_err(|reason| format!("{}: {reason}", entry.name))?;
    decoder.emit(None, Operation::Exit);
    decoder.finish(entry, parameters, offset as usize)
}

pub struct Decoder<'a> {
    pub module: &'a Module,
    addresses: &'a HashMap<String, u64>,
    pub names: Names,
    pub code: Vec<Instruction>,
    /// Where each label stands.
    labels: Vec<Option<usize>>,
    known_labels: HashMap<(usize, String), usize>,
    targets: HashMap<(usize, String), Vec<String>>,
    /// Which of the functions that became one is being decoded.
    instance: usize,
    instances: usize,
    depth: usize,
    /// The label behind a function that was called.
    pub end: Option<usize>,
    local: u64,
    shared: u64,
    module_shared: HashMap<String, u64>,
    /// The register that holds where the launch's shared memory begins.
    dynamic: Option<u32>,
}

impl Decoder<'_> {
    pub fn emit(&mut self, guard: Option<Predicate>, operation: Operation) {
        self.code.push(Instruction { guard, operation });
    }

    fn finish(
        mut self,
        entry: &Function,
        parameters: Vec<(usize, usize)>,
        parameter_bytes: usize,
    ) -> Result<Kernel, String> {
        let labels = self.labels;
        let place = |label: usize| {
            labels[label].ok_or_else(|| format!("{}: a label is missing", entry.name))
        };
        for instruction in &mut self.code {
            match &mut instruction.operation {
                Operation::Branch(target) => *target = place(*target)?,
                Operation::BranchTable(_, targets) => {
                    for target in targets {
                        *target = place(*target)?;
                    }
                }
                _ => {}
            }
        }
        let shared = self.shared.next_multiple_of(16);
        let mut constants: Vec<(u32, u64)> = self
            .names
            .constants
            .iter()
            .map(|(value, register)| (*register, *value))
            .collect();
        constants.extend(self.dynamic.map(|register| (register, shared)));
        Ok(Kernel {
            name: entry.name.clone(),
            code: self.code,
            registers: self.names.registers as usize,
            predicates: self.names.predicates as usize,
            constants,
            parameters,
            parameter_bytes,
            shared: shared as usize,
            local: self.local.next_multiple_of(16) as usize,
            max_threads: entry.max_threads.unwrap_or(1024).min(1024),
        })
    }

    /// The number of a label of this function.
    pub fn label(&mut self, name: &str) -> usize {
        let key = (self.instance, name.to_owned());
        let labels = &mut self.labels;
        *self.known_labels.entry(key).or_insert_with(|| {
            labels.push(None);
            labels.len() - 1
        })
    }

    /// The label stands here.
    pub fn place_label(&mut self, label: usize) {
        self.labels[label] = Some(self.code.len());
    }

    pub fn targets(&self, name: &str) -> Option<Vec<String>> {
        self.targets.get(&(self.instance, name.to_owned())).cloned()
    }

    fn function(&mut self, function: &Function) -> Result<(), String> {
        let body = function.body.as_ref().ok_or("has no body")?;
        for statement in body {
            if let Statement::Targets(name, labels) = statement {
                self.targets
                    .insert((self.instance, name.clone()), labels.clone());
            }
        }
        for statement in body {
            match statement {
                Statement::Open => self.names.open(),
                Statement::Close => self.names.close(),
                Statement::Targets(..) => {}
                Statement::Label(name) => {
                    let label = self.label(name);
                    self.labels[label] = Some(self.code.len());
                }
                Statement::Registers(kind, names) => {
                    for (name, count) in names {
                        self.names.declare(*kind, name, *count);
                    }
                }
                Statement::Variable(variable) => self.variable(variable)?,
                Statement::Instruction(instruction) => self
                    .instruction(instruction)
                    .map_err(|reason| format!("line {}: {reason}", instruction.line))?,
            }
        }
        Ok(())
    }

    fn variable(&mut self, variable: &Variable) -> Result<(), String> {
        let meaning = match variable.space {
            Space::Local | Space::Param => {
                Meaning::Variable(Space::Local, place(&mut self.local, variable))
            }
            Space::Shared if variable.size == 0 => Meaning::Dynamic,
            Space::Shared => Meaning::Variable(Space::Shared, place(&mut self.shared, variable)),
            _ => {
                return Err(format!(
                    "{}: a variable of this space in a function",
                    variable.name
                ));
            }
        };
        self.names.bind(&variable.name, meaning);
        Ok(())
    }

    /// Makes the body of a function that is called part of the code. Its parameters are the caller's variables.
    pub fn inline(
        &mut self,
        name: &str,
        returns: &[Operand],
        arguments: &[Operand],
    ) -> Result<(), String> {
        let mut functions = self.module.functions.iter();
        let function = functions
            .find(|function| function.name == name && function.body.is_some())
            .ok_or_else(|| format!("function {name} is not known"))?;
        if self.depth == DEEPEST {
            return Err(format!("function {name} is called too deep, or by itself"));
        }
        let mut bindings = Vec::new();
        let pairs = function.parameters.iter().zip(arguments);
        for (parameter, argument) in pairs.chain(function.returns.iter().zip(returns)) {
            let Operand::Name(argument) = argument else {
                return Err(format!("an argument of {name} is not known"));
            };
            let meaning = self
                .names
                .find(argument)
                .ok_or_else(|| format!("{argument} is not known"))?;
            bindings.push((parameter.name.clone(), meaning));
        }
        let hidden = self.names.hide();
        for (name, meaning) in bindings {
            self.names.bind(&name, meaning);
        }
        self.instances += 1;
        let instance = std::mem::replace(&mut self.instance, self.instances);
        let end = self.label("the end");
        let before = self.end.replace(end);
        self.depth += 1;
        let result = self.function(function);
        self.depth -= 1;
        self.labels[end] = Some(self.code.len());
        self.end = before;
        self.instance = instance;
        self.names.show(hidden);
        result
    }

    /// What a name stands for, in the function or the module.
    pub fn find(&mut self, name: &str) -> Result<Meaning, String> {
        if let Some(meaning) = self.names.find(name) {
            return Ok(meaning);
        }
        if let Some(address) = self.addresses.get(name) {
            return Ok(Meaning::Variable(Space::Global, *address));
        }
        let mut variables = self.module.variables.iter();
        let variable = variables
            .find(|variable| variable.name == name && variable.space == Space::Shared)
            .ok_or_else(|| format!("{name} is not known"))?;
        if variable.size == 0 {
            return Ok(Meaning::Dynamic);
        }
        let offset = match self.module_shared.get(name) {
            Some(offset) => *offset,
            None => {
                let offset = place(&mut self.shared, variable);
                self.module_shared.insert(name.to_owned(), offset);
                offset
            }
        };
        Ok(Meaning::Variable(Space::Shared, offset))
    }

    /// The register that holds where the launch's shared memory begins.
    pub fn dynamic(&mut self) -> u32 {
        match self.dynamic {
            Some(register) => register,
            None => {
                let register = self.names.new_register();
                self.dynamic = Some(register);
                register
            }
        }
    }

    /// The register with an operand's value.
    pub fn value(&mut self, operand: &Operand, kind: Type) -> Result<u32, String> {
        let bits = match operand {
            Operand::Integer(value) if kind.is_float() => match kind.size {
                4 => (*value as i64 as f32).to_bits().into(),
                _ => (*value as i64 as f64).to_bits(),
            },
            Operand::Integer(value) if kind.size > 0 => kind.cut(*value),
            Operand::Integer(value) => *value,
            Operand::Single(bits) if kind.is_float() && kind.size == 8 => {
                f64::from(f32::from_bits(*bits)).to_bits()
            }
            Operand::Single(bits) => (*bits).into(),
            Operand::Double(bits) if kind.size == 4 => {
                (f64::from_bits(*bits) as f32).to_bits().into()
            }
            Operand::Double(bits) => *bits,
            Operand::Name(name) | Operand::Sum(name, _) => {
                let addend = if let Operand::Sum(_, addend) = operand {
                    *addend
                } else {
                    0
                };
                if let Some(special) = special(name) {
                    let register = self.names.new_register();
                    self.emit(None, Operation::Special(register, special));
                    return Ok(register);
                }
                match self.find(name)? {
                    Meaning::Register(register, _) if addend == 0 => return Ok(register),
                    Meaning::Variable(_, offset) => offset.wrapping_add_signed(addend),
                    Meaning::Dynamic if addend == 0 => return Ok(self.dynamic()),
                    _ => return Err(format!("{name} is no value")),
                }
            }
            _ => return Err(format!("{operand:?} is no value")),
        };
        Ok(self.names.constant(bits))
    }

    /// A register to write to, with its bytes.
    pub fn target(&mut self, operand: &Operand) -> Result<(u32, u8), String> {
        let Operand::Name(name) = operand else {
            return Err(format!("{operand:?} is no register"));
        };
        if name == "_" {
            return Ok((self.names.new_register(), 8));
        }
        match self.names.find(name) {
            Some(Meaning::Register(register, kind)) => Ok((register, kind.size)),
            _ => Err(format!("{name} is no register")),
        }
    }

    pub fn predicate(&mut self, operand: &Operand) -> Result<Predicate, String> {
        let (name, is_negated) = match operand {
            Operand::Name(name) => (name, false),
            Operand::Not(name) => (name, true),
            Operand::Integer(value) => {
                let number = self.names.predicates;
                self.names.predicates += 1;
                self.emit(None, Operation::SetPredicate(number, *value != 0));
                return Ok(Predicate {
                    number,
                    is_negated: false,
                });
            }
            _ => return Err(format!("{operand:?} is no predicate")),
        };
        match self.names.find(name) {
            Some(Meaning::Predicate(number)) => Ok(Predicate { number, is_negated }),
            _ if name == "_" => {
                self.names.predicates += 1;
                Ok(Predicate {
                    number: self.names.predicates - 1,
                    is_negated,
                })
            }
            _ => Err(format!("{name} is no predicate")),
        }
    }

    fn instruction(&mut self, instruction: &syntax::Instruction) -> Result<(), String> {
        let guard = match &instruction.guard {
            Some((name, is_negated)) => {
                let predicate = self.predicate(&Operand::Name(name.clone()))?;
                Some(Predicate {
                    is_negated: *is_negated,
                    ..predicate
                })
            }
            None => None,
        };
        let unknown = || format!("instruction {} is not known", instruction.text());
        if self.memory(guard, instruction)? || self.flow(guard, instruction)? {
            return Ok(());
        }
        let operation = self.computing(instruction)?.ok_or_else(unknown)?;
        self.emit(guard, operation);
        Ok(())
    }

    fn computing(
        &mut self,
        instruction: &syntax::Instruction,
    ) -> Result<Option<Operation>, String> {
        let operands = &instruction.operands;
        let (Some(kind), false) = (
            instruction.name.last().and_then(|part| Type::parse(part)),
            operands.is_empty(),
        ) else {
            return Ok(None);
        };
        match instruction.name[0].as_str() {
            "mov" => return self.moving(kind, operands).map(Some),
            "setp" => return self.comparing(instruction, kind),
            "set" => return self.comparing_to(instruction, kind),
            "cvt" => return self.converting(instruction, kind),
            "cvta" => {
                let (to, _) = self.target(&operands[0])?;
                let from = self.value(&operands[1], kind)?;
                let window = super::access::window_of(&instruction.name);
                let window = if instruction.has("to") {
                    window.wrapping_neg()
                } else {
                    window
                };
                let window = self.names.constant(window);
                return Ok(Some(Operation::Two(
                    arithmetic::add64(),
                    to,
                    [from, window],
                )));
            }
            "selp" => {
                let (to, _) = self.target(&operands[0])?;
                let from = [
                    self.value(&operands[1], kind)?,
                    self.value(&operands[2], kind)?,
                ];
                let predicate = self.predicate(&operands[3])?;
                return Ok(Some(Operation::Select(to, from, predicate)));
            }
            "and" | "or" | "xor" | "not" if kind.class == Class::Predicate => {
                let to = self.predicate(&operands[0])?.number;
                let first = self.predicate(&operands[1])?;
                return Ok(Some(match instruction.name[0].as_str() {
                    "not" => Operation::MovePredicate(
                        to,
                        Predicate {
                            is_negated: !first.is_negated,
                            ..first
                        },
                    ),
                    name => {
                        Operation::Logic(logic(name), to, [first, self.predicate(&operands[2])?])
                    }
                }));
            }
            "add" | "addc" | "sub" | "subc"
                if instruction.has("cc") || instruction.name[0].ends_with('c') =>
            {
                return self.carrying(instruction, kind).map(Some);
            }
            "bfi" => {
                let (to, _) = self.target(&operands[0])?;
                let word = Type {
                    class: Class::Bits,
                    size: 4,
                };
                let from = [
                    self.value(&operands[1], kind)?,
                    self.value(&operands[2], kind)?,
                    self.value(&operands[3], word)?,
                    self.value(&operands[4], word)?,
                ];
                return Ok(Some(Operation::Insert(kind, to, from)));
            }
            "lop3" => {
                let (to, _) = self.target(&operands[0])?;
                let from = self.three(&operands[1..4], [kind; 3])?;
                let Some(Operand::Integer(table)) = operands.get(4) else {
                    return Ok(None);
                };
                return Ok(Some(Operation::Table(to, from, *table as u8)));
            }
            _ => {}
        }
        self.plain(instruction, kind)
    }

    fn plain(
        &mut self,
        instruction: &syntax::Instruction,
        kind: Type,
    ) -> Result<Option<Operation>, String> {
        let operands = &instruction.operands;
        let parts = &instruction.name[..instruction.name.len() - 1];
        let kept = parts
            .iter()
            .filter(|part| !IGNORED.contains(&part.as_str()));
        let mut name = kept.map(String::as_str).collect::<Vec<_>>().join(".");
        if name == "mul" && !kind.is_float() || name == "mad" && !kind.is_float() {
            name += ".lo";
        }
        let Ok((to, _)) = self.target(&operands[0]) else {
            return Ok(None);
        };
        let word = Type {
            class: Class::Bits,
            size: 4,
        };
        Ok(match operands.len() {
            2 => match arithmetic::of_one(&name, kind) {
                Some(run) => Some(Operation::One(run, to, self.value(&operands[1], kind)?)),
                None => None,
            },
            3 => match arithmetic::of_two(&name, kind) {
                Some(run) => {
                    let second = if matches!(name.as_str(), "shl" | "shr") {
                        word
                    } else {
                        kind
                    };
                    let from = [
                        self.value(&operands[1], kind)?,
                        self.value(&operands[2], second)?,
                    ];
                    Some(Operation::Two(run, to, from))
                }
                None => None,
            },
            4 => match arithmetic::of_three(&name, kind) {
                Some(run) => {
                    let wide = Type {
                        size: kind.size * 2,
                        ..kind
                    };
                    let kinds = match name.as_str() {
                        "mad.wide" => [kind, kind, wide],
                        "bfe" => [kind, word, word],
                        _ => [kind; 3],
                    };
                    Some(Operation::Three(
                        run,
                        to,
                        self.three(&operands[1..], kinds)?,
                    ))
                }
                None => None,
            },
            _ => None,
        })
    }

    fn three(&mut self, operands: &[Operand], kinds: [Type; 3]) -> Result<[u32; 3], String> {
        let [a, b, c] = operands else {
            return Err("it wants three values".to_owned());
        };
        Ok([
            self.value(a, kinds[0])?,
            self.value(b, kinds[1])?,
            self.value(c, kinds[2])?,
        ])
    }

    fn moving(&mut self, kind: Type, operands: &[Operand]) -> Result<Operation, String> {
        if kind.class == Class::Predicate {
            let to = self.predicate(&operands[0])?.number;
            return Ok(match &operands[1] {
                Operand::Integer(value) => Operation::SetPredicate(to, *value != 0),
                from => Operation::MovePredicate(to, self.predicate(from)?),
            });
        }
        match (&operands[0], &operands[1]) {
            (Operand::Vector(parts), from) => {
                let size = kind.size / parts.len() as u8;
                let from = self.value(from, kind)?;
                let part = |part: &Operand| match part {
                    Operand::Name(name) if name == "_" => Ok(None),
                    part => self.target(part).map(|(register, _)| Some(register)),
                };
                let parts = parts.iter().map(part).collect::<Result<_, _>>()?;
                Ok(Operation::Unpack { parts, from, size })
            }
            (to, Operand::Vector(parts)) => {
                let size = kind.size / parts.len() as u8;
                let (to, _) = self.target(to)?;
                let piece = Type { size, ..kind };
                let parts = parts
                    .iter()
                    .map(|part| self.value(part, piece))
                    .collect::<Result<_, _>>()?;
                Ok(Operation::Pack { to, parts, size })
            }
            (to, Operand::Name(name)) if special(name).is_some() => {
                let (to, _) = self.target(to)?;
                Ok(Operation::Special(
                    to,
                    special(name).unwrap_or(Special::Zero),
                ))
            }
            (to, from) => {
                let (to, _) = self.target(to)?;
                Ok(Operation::One(
                    arithmetic::copy(),
                    to,
                    self.value(from, kind)?,
                ))
            }
        }
    }

    /// The parts of a comparison: how, with what it is combined.
    fn comparison(
        &mut self,
        instruction: &syntax::Instruction,
        kind: Type,
    ) -> Result<Option<Compared>, String> {
        let Some(found) = instruction.name.get(1).and_then(|name| compare(name, kind)) else {
            return Ok(None);
        };
        let operands = &instruction.operands;
        let from = [
            self.value(&operands[1], kind)?,
            self.value(&operands[2], kind)?,
        ];
        let mut combine = None;
        if let Some(with) = operands.get(3) {
            let name = instruction.name.get(2).map_or("", String::as_str);
            combine = Some((logic(name), self.predicate(with)?));
        }
        Ok(Some((found, from, combine)))
    }

    fn comparing(
        &mut self,
        instruction: &syntax::Instruction,
        kind: Type,
    ) -> Result<Option<Operation>, String> {
        let (to, other) = match &instruction.operands[0] {
            Operand::Pair(to, other) => (to.clone(), Some(other.clone())),
            Operand::Name(to) => (to.clone(), None),
            _ => return Ok(None),
        };
        let to = self.predicate(&Operand::Name(to))?.number;
        let other = match other {
            Some(other) => Some(self.predicate(&Operand::Name(other))?.number),
            None => None,
        };
        let found = self.comparison(instruction, kind)?;
        Ok(found.map(|(compare, from, combine)| Operation::Compare {
            compare,
            from,
            combine,
            to,
            other,
        }))
    }

    fn comparing_to(
        &mut self,
        instruction: &syntax::Instruction,
        kind: Type,
    ) -> Result<Option<Operation>, String> {
        let (to, _) = self.target(&instruction.operands[0])?;
        let is_float = instruction
            .name
            .iter()
            .rev()
            .nth(1)
            .is_some_and(|part| part == "f32");
        let value = if is_float {
            1.0_f32.to_bits().into()
        } else {
            0xffff_ffff
        };
        let found = self.comparison(instruction, kind)?;
        Ok(found.map(|(compare, from, combine)| Operation::CompareTo {
            compare,
            from,
            combine,
            value,
            to,
        }))
    }

    fn converting(
        &mut self,
        instruction: &syntax::Instruction,
        from: Type,
    ) -> Result<Option<Operation>, String> {
        let parts = &instruction.name;
        let Some(to) = parts
            .get(parts.len() - 2)
            .and_then(|part| Type::parse(part))
        else {
            return Ok(None);
        };
        let (register, width) = self.target(&instruction.operands[0])?;
        let conversion = Conversion {
            to,
            from,
            integral: parts.iter().find_map(|part| integral(part)),
            saturates: instruction.has("sat"),
            width,
        };
        let value = self.value(&instruction.operands[1], from)?;
        Ok(Some(Operation::Convert(conversion, register, value)))
    }

    fn carrying(
        &mut self,
        instruction: &syntax::Instruction,
        kind: Type,
    ) -> Result<Operation, String> {
        let operands = &instruction.operands;
        Ok(Operation::Carry {
            is_subtraction: instruction.name[0].starts_with("sub"),
            reads: instruction.name[0].ends_with('c'),
            writes: instruction.has("cc"),
            size: kind.size,
            to: self.target(&operands[0])?.0,
            from: [
                self.value(&operands[1], kind)?,
                self.value(&operands[2], kind)?,
            ],
        })
    }
}

type Compared = (Compare, [u32; 2], Option<(Logic, Predicate)>);

fn place(used: &mut u64, variable: &Variable) -> u64 {
    let offset = used.next_multiple_of(variable.align.max(1));
    *used = offset + variable.size;
    offset
}

fn logic(name: &str) -> Logic {
    match name {
        "or" => Logic::Or,
        "xor" => Logic::Xor,
        _ => Logic::And,
    }
}

/// The special register of a name.
fn special(name: &str) -> Option<Special> {
    if name == "WARP_SZ" {
        return Some(Special::WarpSize);
    }
    let name = name.strip_prefix('%')?;
    if let Some((name, axis)) = name.split_once('.') {
        let axis = ["x", "y", "z"].iter().position(|known| *known == axis)? as u8;
        return Some(match name {
            "tid" => Special::Thread(axis),
            "ntid" => Special::ThreadCount(axis),
            "ctaid" => Special::Block(axis),
            "nctaid" => Special::BlockCount(axis),
            "clusterid" | "cluster_ctaid" => Special::Zero,
            "cluster_nctaid" | "nclusterid" => Special::One,
            _ => return None,
        });
    }
    Some(match name {
        "laneid" => Special::Lane,
        "warpid" => Special::Warp,
        "nwarpid" => Special::WarpCount,
        "clock" | "clock64" | "clock_hi" => Special::Clock,
        "globaltimer" | "globaltimer_lo" => Special::Time,
        "dynamic_smem_size" => Special::DynamicShared,
        "lanemask_lt" => Special::LaneMask(Relation::Below),
        "lanemask_le" => Special::LaneMask(Relation::UpTo),
        "lanemask_eq" => Special::LaneMask(Relation::At),
        "lanemask_ge" => Special::LaneMask(Relation::From),
        "lanemask_gt" => Special::LaneMask(Relation::Above),
        "smid" | "gridid" | "cluster_ctarank" => Special::Zero,
        "nsmid" | "cluster_nctarank" => Special::One,
        _ => return None,
    })
}
