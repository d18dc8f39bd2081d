//! Rules of the options for calls of one function: which fail, are slow, or return late.

use std::thread;
use std::time::Duration;

use crate::entries::is_entry_point;
use crate::ffi::CLResult;

/// Which calls of a function a rule is for; the first call is 1.
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

    fn parse(text: &str) -> Result<Self, String> {
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

/// `fail=` and `fail_exec=`: the code that the n-th call of a function answers, or its command ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub function: String,
    pub nth: Nth,
    pub code: i32,
}

impl Failure {
    /// `NAME:NTH:CODE`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let [function, nth, code] = parts[..] else {
            return Err("wants NAME:NTH:CODE".to_owned());
        };
        let code = code
            .parse()
            .ok()
            .filter(|&code: &i32| code < 0)
            .ok_or("wants a negative code")?;
        Ok(Failure {
            function: known(function)?,
            nth: Nth::parse(nth)?,
            code,
        })
    }
}

/// `slow=` and `slow_exec=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay {
    pub function: String,
    pub time: Duration,
}

impl Delay {
    /// `NAME:TIME`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (function, time) = text.split_once(':').ok_or("wants NAME:TIME")?;
        let (number, unit) = time.split_at(
            time.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(time.len()),
        );
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
}

/// `return_after=`: the other function that must be called before a call of this one returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    pub function: String,
    pub other: String,
}

impl Return {
    /// `NAME:OTHER`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (function, other) = text.split_once(':').ok_or("wants NAME:OTHER")?;
        Ok(Return {
            function: known(function)?,
            other: known(other)?,
        })
    }
}

fn known(function: &str) -> Result<String, String> {
    if is_entry_point(function) {
        Ok(function.to_owned())
    } else {
        Err(format!("{function} is no entry point"))
    }
}

/// Sleeps as the rules say.
pub fn sleep(rules: &[Delay], function: &str) {
    rules
        .iter()
        .filter(|rule| rule.function == function)
        .for_each(|rule| thread::sleep(rule.time));
}

/// Fails as the rules say.
pub fn fail(rules: &[Failure], function: &str, call: u64) -> CLResult<()> {
    rules
        .iter()
        .find(|rule| rule.function == function && rule.nth.matches(call))
        .map_or(Ok(()), |rule| Err(rule.code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_calls_from_one() {
        assert!(Nth::Exactly(3).matches(3) && !Nth::Exactly(3).matches(4));
        assert!(Nth::From(2).matches(9) && !Nth::From(2).matches(1));
    }
}
