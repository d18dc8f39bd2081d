//! Comparisons, by name and type.

use super::code::{Compare, Lanes};
use super::types::{Class, Type, extend};

macro_rules! compare {
    (|$a:ident, $b:ident| $holds:expr) => {{
        fn run(a: &Lanes, b: &Lanes) -> u32 {
            let mut mask = 0;
            for (lane, (&$a, &$b)) in a.iter().zip(b).enumerate() {
                mask |= u32::from($holds) << lane;
            }
            mask
        }
        run as Compare
    }};
}

macro_rules! ordered {
    ($name:expr, |$x:ident| $read:expr) => {
        match $name {
            "eq" => compare!(|a, b| {
                let f = |$x: u64| $read;
                f(a) == f(b)
            }),
            "ne" => compare!(|a, b| {
                let f = |$x: u64| $read;
                f(a) != f(b)
            }),
            "lt" | "lo" => compare!(|a, b| {
                let f = |$x: u64| $read;
                f(a) < f(b)
            }),
            "le" | "ls" => compare!(|a, b| {
                let f = |$x: u64| $read;
                f(a) <= f(b)
            }),
            "gt" | "hi" => compare!(|a, b| {
                let f = |$x: u64| $read;
                f(a) > f(b)
            }),
            "ge" | "hs" => compare!(|a, b| {
                let f = |$x: u64| $read;
                f(a) >= f(b)
            }),
            _ => return None,
        }
    };
}

macro_rules! floats {
    ($name:expr, |$x:ident| $read:expr) => {
        match $name {
            // Not equal holds only for numbers.
            "ne" => compare!(|a, b| { let f = |$x: u64| $read; f(a) < f(b) || f(a) > f(b) }),
            "equ" => compare!(|a, b| { let f = |$x: u64| $read; !(f(a) < f(b) || f(a) > f(b)) }),
            "neu" => compare!(|a, b| { let f = |$x: u64| $read; f(a) != f(b) }),
            "ltu" => compare!(|a, b| { let f = |$x: u64| $read; !matches!(f(a).partial_cmp(&f(b)), Some(o) if o.is_ge()) }),
            "leu" => compare!(|a, b| { let f = |$x: u64| $read; !matches!(f(a).partial_cmp(&f(b)), Some(o) if o.is_gt()) }),
            "gtu" => compare!(|a, b| { let f = |$x: u64| $read; !matches!(f(a).partial_cmp(&f(b)), Some(o) if o.is_le()) }),
            "geu" => compare!(|a, b| { let f = |$x: u64| $read; !matches!(f(a).partial_cmp(&f(b)), Some(o) if o.is_lt()) }),
            "num" => compare!(|a, b| { let f = |$x: u64| $read; !f(a).is_nan() && !f(b).is_nan() }),
            "nan" => compare!(|a, b| { let f = |$x: u64| $read; f(a).is_nan() || f(b).is_nan() }),
            _ => ordered!($name, |$x| $read),
        }
    };
}

/// The comparison of a name.
pub fn compare(name: &str, kind: Type) -> Option<Compare> {
    Some(match (kind.class, kind.size) {
        (Class::Float, 4) => floats!(name, |x| f32::from_bits(x as u32)),
        (Class::Float, _) => floats!(name, |x| f64::from_bits(x)),
        (Class::Signed, 2) => ordered!(name, |x| extend(x, 2)),
        (Class::Signed, 4) => ordered!(name, |x| extend(x, 4)),
        (Class::Signed, _) => ordered!(name, |x| x as i64),
        _ => ordered!(name, |x| x),
    })
}
