//! Tokens to modules.

use super::lex::{Token, Tokens, lex};
use super::syntax::*;
use super::types::{Space, Type};

/// Reads a module.
///
/// # Errors
/// Says what is not understood, and in which line.
pub fn parse(text: &str) -> Result<Module, String> {
    let mut parser = Parser {
        tokens: lex(text)?,
        at: 0,
    };
    let mut module = Module::default();
    while let Some(token) = parser.peek() {
        let Token::Word(word) = token.clone() else {
            return Err(parser.unexpected());
        };
        parser.module_item(&word, &mut module)?;
    }
    Ok(module)
}

struct Parser {
    tokens: Tokens,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn line(&self) -> usize {
        let nearest = self.tokens.get(self.at).or(self.tokens.last());
        nearest.map_or(0, |(_, line)| *line)
    }

    fn unexpected(&self) -> String {
        format!("line {}: {:?} is not expected", self.line(), self.peek())
    }

    fn take(&mut self, sign: char) -> bool {
        let is = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, sign: char) -> Result<(), String> {
        match self.take(sign) {
            true => Ok(()),
            false => Err(format!("{}, but {sign:?}", self.unexpected())),
        }
    }

    fn word(&mut self) -> Result<String, String> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn peek_word(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn integer(&mut self) -> Result<u64, String> {
        let is_negative = self.take('-');
        match self.peek() {
            Some(&Token::Integer(value)) => {
                self.at += 1;
                Ok(if is_negative {
                    value.wrapping_neg()
                } else {
                    value
                })
            }
            _ => Err(self.unexpected()),
        }
    }

    fn skip_line(&mut self) {
        let line = self.line();
        while self.peek().is_some() && self.line() == line {
            self.at += 1;
        }
    }

    fn module_item(&mut self, word: &str, module: &mut Module) -> Result<(), String> {
        match word {
            ".version" | ".target" | ".address_size" | ".file" | ".loc" | ".pragma" => {
                self.skip_line()
            }
            ".section" => {
                while !self.take('}') {
                    if self.peek().is_none() {
                        return Err(self.unexpected());
                    }
                    self.at += 1;
                }
            }
            ".visible" | ".weak" | ".common" => self.at += 1,
            ".extern" => {
                self.at += 1;
                match self.peek_word() {
                    Some(".func") => {
                        self.at += 1;
                        module.functions.push(self.function(false)?);
                    }
                    _ => {
                        let mut variable = self.variable()?;
                        variable.is_extern = true;
                        module.variables.push(variable);
                    }
                }
            }
            ".entry" | ".func" => {
                self.at += 1;
                let function = self.function(word == ".entry")?;
                // A declaration, then the body.
                module
                    .functions
                    .retain(|known| known.name != function.name || known.body.is_some());
                module.functions.push(function);
            }
            ".global" | ".const" | ".shared" => {
                let variable = self.variable()?;
                module.variables.push(variable);
            }
            _ => return Err(self.unexpected()),
        }
        Ok(())
    }

    fn function(&mut self, is_entry: bool) -> Result<Function, String> {
        let mut returns = Vec::new();
        if self.take('(') {
            returns = self.parameters()?;
        }
        let name = self.word()?;
        let mut parameters = Vec::new();
        if self.take('(') {
            parameters = self.parameters()?;
        }
        let mut max_threads = None;
        while !self.take(';') {
            if self.take('{') {
                let body = Some(self.body()?);
                return Ok(Function {
                    name,
                    is_entry,
                    parameters,
                    returns,
                    body,
                    max_threads,
                });
            }
            match self.word()?.as_str() {
                ".maxntid" | ".reqntid" => {
                    let mut product = self.integer()? as u32;
                    while self.take(',') {
                        product *= self.integer()? as u32;
                    }
                    max_threads = Some(product);
                }
                ".minnctapersm" | ".maxnreg" | ".maxnctapersm" => {
                    self.integer()?;
                }
                ".noreturn" => {}
                ".pragma" => {
                    self.at += 1;
                    self.expect(';')?;
                }
                _ => return Err(self.unexpected()),
            }
        }
        Ok(Function {
            name,
            is_entry,
            parameters,
            returns,
            body: None,
            max_threads,
        })
    }

    fn parameters(&mut self) -> Result<Vec<Variable>, String> {
        let mut parameters = Vec::new();
        while !self.take(')') {
            parameters.push(self.declarator()?);
            self.take(',');
        }
        Ok(parameters)
    }

    /// `.space .align N .type name[size]`.
    fn declarator(&mut self) -> Result<Variable, String> {
        let mut space = Space::Param;
        let mut align = None;
        let mut found = None;
        while let Some(word) = self.peek_word().filter(|word| word.starts_with('.')) {
            let word = word.to_owned();
            self.at += 1;
            if word == ".align" {
                align = Some(self.integer()?);
            } else if let Some(known) = Space::parse(&word) {
                space = known;
            } else if let Some(known) = Type::parse(&word) {
                found = Some(known);
            } else if !matches!(word.as_str(), ".ptr" | ".reg" | ".attribute" | ".managed") {
                return Err(format!(
                    "line {}: {word} is not known in a declaration",
                    self.line()
                ));
            }
        }
        let element = found.ok_or_else(|| self.unexpected())?;
        let name = self.word()?;
        let mut count = 1;
        while self.take('[') {
            count *= if self.peek() == Some(&Token::Sign(']')) {
                0
            } else {
                self.integer()?
            };
            self.expect(']')?;
        }
        Ok(Variable {
            name,
            space,
            align: align.unwrap_or(u64::from(element.size.max(1))),
            size: count * u64::from(element.size),
            initial: vec![Initial {
                offset: 0,
                size: element.size,
                value: Value::Bits(0),
            }],
            is_extern: false,
        })
    }

    /// A declaration with its values, up to its end.
    fn variable(&mut self) -> Result<Variable, String> {
        let mut variable = self.declarator()?;
        let element = variable.initial[0].size;
        variable.initial.clear();
        if self.take('=') {
            self.values(element, &mut variable.initial)?;
            let end = variable
                .initial
                .last()
                .map_or(0, |last| last.offset + u64::from(last.size));
            variable.size = variable.size.max(end);
        }
        self.expect(';')?;
        Ok(variable)
    }

    fn values(&mut self, size: u8, into: &mut Vec<Initial>) -> Result<(), String> {
        if self.take('{') {
            while !self.take('}') {
                self.values(size, into)?;
                self.take(',');
            }
            return Ok(());
        }
        let offset = into
            .last()
            .map_or(0, |last| last.offset + u64::from(last.size));
        let value = match self.peek().cloned() {
            Some(Token::Single(bits)) => {
                self.at += 1;
                Value::Bits(bits.into())
            }
            Some(Token::Double(bits)) => {
                self.at += 1;
                Value::Bits(bits)
            }
            Some(Token::Word(word)) => {
                self.at += 1;
                let name = match word == "generic" && self.take('(') {
                    true => {
                        let name = self.word()?;
                        self.expect(')')?;
                        name
                    }
                    false => word,
                };
                Value::Address(name, self.addend()?)
            }
            _ => Value::Bits(self.integer()?),
        };
        into.push(Initial {
            offset,
            size,
            value,
        });
        Ok(())
    }

    /// `+8`, `-8`, or nothing.
    fn addend(&mut self) -> Result<i64, String> {
        if self.take('+') || self.peek() == Some(&Token::Sign('-')) {
            return self.integer().map(|value| value as i64);
        }
        Ok(0)
    }

    fn body(&mut self) -> Result<Vec<Statement>, String> {
        let mut statements = Vec::new();
        let mut depth = 0;
        loop {
            if self.take('{') {
                depth += 1;
                statements.push(Statement::Open);
            } else if self.take('}') {
                if depth == 0 {
                    return Ok(statements);
                }
                depth -= 1;
                statements.push(Statement::Close);
            } else if self.take(';') {
            } else {
                self.statement(&mut statements)?;
            }
        }
    }

    fn statement(&mut self, into: &mut Vec<Statement>) -> Result<(), String> {
        let guard = match self.take('@') {
            true => {
                let is_negated = self.take('!');
                Some((self.word()?, is_negated))
            }
            false => None,
        };
        let line = self.line();
        let word = self.word()?;
        match word.as_str() {
            ".reg" => into.push(self.registers()?),
            ".local" | ".shared" | ".param" | ".const" | ".global" => {
                self.at -= 1;
                let variable = self.variable()?;
                into.push(Statement::Variable(variable));
            }
            ".loc" | ".file" => {
                self.at -= 1;
                self.skip_line();
            }
            ".pragma" => {
                self.at += 1;
                self.expect(';')?;
            }
            _ if self.take(':') => match self.peek_word() {
                Some(".branchtargets") => {
                    self.at += 1;
                    let mut targets = vec![self.word()?];
                    while self.take(',') {
                        targets.push(self.word()?);
                    }
                    self.expect(';')?;
                    into.push(Statement::Targets(word, targets));
                }
                _ => into.push(Statement::Label(word)),
            },
            _ => {
                let name = word.split('.').map(str::to_owned).collect();
                let mut operands = Vec::new();
                while !self.take(';') {
                    operands.push(self.operand()?);
                    if !self.take(',') && self.peek() != Some(&Token::Sign(';')) {
                        return Err(self.unexpected());
                    }
                }
                into.push(Statement::Instruction(Instruction {
                    guard,
                    name,
                    operands,
                    line,
                }));
            }
        }
        Ok(())
    }

    fn registers(&mut self) -> Result<Statement, String> {
        let word = self.word()?;
        let kind = Type::parse(&word).ok_or_else(|| {
            format!(
                "line {}: registers of type {word} are not known",
                self.line()
            )
        })?;
        let mut names = Vec::new();
        loop {
            let name = self.word()?;
            let count = match self.take('<') {
                true => {
                    let count = self.integer()?;
                    self.expect('>')?;
                    Some(count as u32)
                }
                false => None,
            };
            names.push((name, count));
            if self.take(';') {
                return Ok(Statement::Registers(kind, names));
            }
            self.expect(',')?;
        }
    }

    fn operand(&mut self) -> Result<Operand, String> {
        if self.take('[') {
            let base = match self.peek() {
                Some(Token::Word(_)) => Some(self.word()?),
                _ => None,
            };
            let offset = match base {
                Some(_) => self.addend()?,
                None => self.integer()? as i64,
            };
            self.expect(']')?;
            return Ok(Operand::Memory(base, offset));
        }
        if self.take('{') {
            return self.several('}').map(Operand::Vector);
        }
        if self.take('(') {
            return self.several(')').map(Operand::Group);
        }
        if self.take('!') {
            return self.word().map(Operand::Not);
        }
        let is_negative = self.peek() == Some(&Token::Sign('-'));
        match self.peek().cloned() {
            Some(Token::Single(bits)) => {
                self.at += 1;
                Ok(Operand::Single(bits))
            }
            Some(Token::Double(bits)) => {
                self.at += 1;
                Ok(Operand::Double(bits))
            }
            Some(Token::Word(name)) => {
                self.at += 1;
                if self.take('|') {
                    return Ok(Operand::Pair(name, self.word()?));
                }
                match self.addend()? {
                    0 => Ok(Operand::Name(name)),
                    addend => Ok(Operand::Sum(name, addend)),
                }
            }
            Some(Token::Integer(_)) => self.integer().map(Operand::Integer),
            _ if is_negative => self.integer().map(Operand::Integer),
            _ => Err(self.unexpected()),
        }
    }

    fn several(&mut self, end: char) -> Result<Vec<Operand>, String> {
        let mut operands = Vec::new();
        while !self.take(end) {
            operands.push(self.operand()?);
            self.take(',');
        }
        Ok(operands)
    }
}
