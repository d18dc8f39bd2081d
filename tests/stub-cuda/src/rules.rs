//! Rules of the options for calls of a function: which fail, and which are slow.

use std::time::Duration;

use crate::errors::{self, CUresult};

/// Which calls a rule is for; the first call is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nth {
    Exactly(u64),
    From(u64),
}

impl Nth {
    pub fn matches(self, call: u64) -> bool {
        match self {
            Nth::Exactly(nth) => call == nth,
            Nth::From(nth) => call >= nth,
        }
    }

    /// `3`, `3+`, `*`.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse()
                .map_err(|_| format!("{text:?} is not the number of a call"))
        };
        match text.strip_suffix('+') {
            _ if text == "*" => Ok(Nth::From(1)),
            Some(first) => number(first).map(Nth::From),
            None => number(text).map(Nth::Exactly),
        }
    }
}

/// A function by name, or `*`: any.
fn is_for(rule: &str, function: &str) -> bool {
    rule == "*" || rule == function
}

/// `fail=`: the code that the n-th call of a function answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    function: String,
    nth: Nth,
    code: CUresult,
}

impl Failure {
    /// `NAME:NTH:CODE`.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let [function, nth, code] = parts[..] else {
            return Err("wants NAME:NTH:CODE".to_owned());
        };
        Ok(Failure {
            function: known(function)?,
            nth: Nth::parse(nth)?,
            code: errors::parse(code).ok_or_else(|| format!("{code:?} is no code of an error"))?,
        })
    }

    /// The code for a call that is the `own`-th of its function and the `all`-th of all.
    pub fn of(&self, function: &str, own: u64, all: u64) -> Option<CUresult> {
        let nth = if self.function == "*" { all } else { own };
        (is_for(&self.function, function) && self.nth.matches(nth)).then_some(self.code)
    }
}

/// `slow=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay {
    function: String,
    time: Duration,
}

impl Delay {
    /// `NAME:TIME`.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (function, time) = text.split_once(':').ok_or("wants NAME:TIME")?;
        let digits = time.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = time.split_at(digits.unwrap_or(time.len()));
        let number: u64 = number.parse().map_err(|_| format!("{time:?} is no time"))?;
        let time = match unit {
            "us" => Duration::from_micros(number),
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            _ => return Err(format!("{time:?} has no unit: us, ms, s")),
        };
        Ok(Delay {
            function: known(function)?,
            time,
        })
    }

    pub fn of(&self, function: &str) -> Option<Duration> {
        is_for(&self.function, function).then_some(self.time)
    }
}

fn known(function: &str) -> Result<String, String> {
    match function == "*" || function.starts_with("cu") {
        true => Ok(function.to_owned()),
        false => Err(format!("{function} is no function of the driver")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_calls_from_one() {
        let rule = Failure::parse("cuMemAlloc_v2:2:OUT_OF_MEMORY").unwrap();
        assert_eq!(rule.of("cuMemAlloc_v2", 1, 9), None);
        assert_eq!(rule.of("cuMemAlloc_v2", 2, 9), Some(2));
        assert_eq!(rule.of("cuMemFree_v2", 2, 2), None);
        let any = Failure::parse("*:5+:999").unwrap();
        assert_eq!(any.of("cuMemFree_v2", 1, 4), None);
        assert_eq!(any.of("cuMemFree_v2", 1, 6), Some(999));
    }
}
