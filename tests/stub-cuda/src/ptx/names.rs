//! What names stand for while a kernel is decoded, and what numbers registers get.

use std::collections::HashMap;

use super::types::{Class, Space, Type};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meaning {
    Register(u32, Type),
    Predicate(u32),
    /// At an offset of its space.
    Variable(Space, u64),
    /// Shared memory whose size the launch gives.
    Dynamic,
}

#[derive(Default)]
struct Scope {
    names: HashMap<String, Meaning>,
    /// Prefix, first number, count, type.
    ranges: Vec<(String, u32, u32, Type)>,
}

#[derive(Default)]
pub struct Names {
    scopes: Vec<Scope>,
    pub registers: u32,
    pub predicates: u32,
    pub constants: HashMap<u64, u32>,
}

impl Names {
    pub fn open(&mut self) {
        self.scopes.push(Scope::default());
    }

    pub fn close(&mut self) {
        self.scopes.pop();
    }

    /// Another function's names: the ones now are out of sight until [`Names::show`].
    pub fn hide(&mut self) -> Hidden {
        Hidden(std::mem::replace(&mut self.scopes, vec![Scope::default()]))
    }

    pub fn show(&mut self, hidden: Hidden) {
        self.scopes = hidden.0;
    }

    pub fn bind(&mut self, name: &str, meaning: Meaning) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.names.insert(name.to_owned(), meaning);
        }
    }

    pub fn declare(&mut self, kind: Type, name: &str, count: Option<u32>) {
        let numbers = match kind.class {
            Class::Predicate => &mut self.predicates,
            _ => &mut self.registers,
        };
        let first = *numbers;
        *numbers += count.unwrap_or(1);
        let Some(scope) = self.scopes.last_mut() else {
            return;
        };
        match count {
            Some(count) => scope.ranges.push((name.to_owned(), first, count, kind)),
            None => {
                scope.names.insert(name.to_owned(), meaning(kind, first));
            }
        }
    }

    pub fn find(&self, name: &str) -> Option<Meaning> {
        self.scopes.iter().rev().find_map(|scope| {
            let exact = scope.names.get(name).copied();
            exact.or_else(|| {
                scope
                    .ranges
                    .iter()
                    .find_map(|(prefix, first, count, kind)| {
                        let digits = name.strip_prefix(prefix.as_str())?;
                        let nth: u32 = digits.parse().ok()?;
                        (nth < *count).then(|| meaning(*kind, first + nth))
                    })
            })
        })
    }

    pub fn new_register(&mut self) -> u32 {
        self.registers += 1;
        self.registers - 1
    }

    /// A register that holds a constant.
    pub fn constant(&mut self, value: u64) -> u32 {
        match self.constants.get(&value) {
            Some(&register) => register,
            None => {
                let register = self.new_register();
                self.constants.insert(value, register);
                register
            }
        }
    }
}

/// The scopes of a function that calls.
pub struct Hidden(Vec<Scope>);

fn meaning(kind: Type, number: u32) -> Meaning {
    match kind.class {
        Class::Predicate => Meaning::Predicate(number),
        _ => Meaning::Register(number, kind),
    }
}
