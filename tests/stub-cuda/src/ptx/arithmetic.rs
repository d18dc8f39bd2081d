//! What instructions compute, by name and type.

use super::code::{LANES, Lanes, One, Three, Two};
use super::types::{Class, Type, cut, extend};

/// Puts the values of the lanes of `mask`.
#[inline]
fn put(to: &mut Lanes, values: &Lanes, mask: u32) {
    if mask == u32::MAX {
        *to = *values;
        return;
    }
    for (lane, to) in to.iter_mut().enumerate() {
        *to = if mask >> lane & 1 != 0 {
            values[lane]
        } else {
            *to
        };
    }
}

macro_rules! one {
    (|$a:ident| $value:expr) => {{
        fn run(registers: &mut [Lanes], to: u32, from: u32, mask: u32) {
            let values = registers[from as usize].map(|$a| $value);
            put(&mut registers[to as usize], &values, mask);
        }
        run as One
    }};
}

macro_rules! two {
    (|$a:ident, $b:ident| $value:expr) => {{
        fn run(registers: &mut [Lanes], to: u32, from: [u32; 2], mask: u32) {
            let [a, b] = from.map(|from| &registers[from as usize]);
            let mut values = [0; LANES];
            for lane in 0..LANES {
                let ($a, $b) = (a[lane], b[lane]);
                values[lane] = $value;
            }
            put(&mut registers[to as usize], &values, mask);
        }
        run as Two
    }};
}

macro_rules! three {
    (|$a:ident, $b:ident, $c:ident| $value:expr) => {{
        fn run(registers: &mut [Lanes], to: u32, from: [u32; 3], mask: u32) {
            let [a, b, c] = from.map(|from| &registers[from as usize]);
            let mut values = [0; LANES];
            for lane in 0..LANES {
                let ($a, $b, $c) = (a[lane], b[lane], c[lane]);
                values[lane] = $value;
            }
            put(&mut registers[to as usize], &values, mask);
        }
        run as Three
    }};
}

/// Floats from their bits, and back.
fn single(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn double(bits: u64) -> f64 {
    f64::from_bits(bits)
}

fn bits(value: f32) -> u64 {
    value.to_bits().into()
}

/// A move of all bits.
pub fn copy() -> One {
    one!(|a| a)
}

/// The value with the low 32 or 64 bits of a window taken off or put on.
pub fn add64() -> Two {
    two!(|a, b| a.wrapping_add(b))
}

/// Instructions with one value.
pub fn of_one(name: &str, kind: Type) -> Option<One> {
    Some(match (name, kind.class, kind.size) {
        ("neg", Class::Float, 4) => one!(|a| a ^ 1 << 31),
        ("neg", Class::Float, 8) => one!(|a| a ^ 1 << 63),
        ("abs", Class::Float, 4) => one!(|a| a & !(1 << 31)),
        ("abs", Class::Float, 8) => one!(|a| a & !(1 << 63)),
        ("neg", _, 2) => one!(|a| cut(a.wrapping_neg(), 2)),
        ("neg", _, 4) => one!(|a| cut(a.wrapping_neg(), 4)),
        ("neg", _, 8) => one!(|a| a.wrapping_neg()),
        ("abs", _, 2) => one!(|a| cut(extend(a, 2).unsigned_abs(), 2)),
        ("abs", _, 4) => one!(|a| cut(extend(a, 4).unsigned_abs(), 4)),
        ("abs", _, 8) => one!(|a| (a as i64).unsigned_abs()),
        ("not", _, 2) => one!(|a| cut(!a, 2)),
        ("not", _, 4) => one!(|a| cut(!a, 4)),
        ("not", _, 8) => one!(|a| !a),
        ("cnot", _, _) => one!(|a| u64::from(a == 0)),
        ("popc", _, _) => one!(|a| a.count_ones().into()),
        ("clz", _, 4) => one!(|a| (a as u32).leading_zeros().into()),
        ("clz", _, 8) => one!(|a| a.leading_zeros().into()),
        ("brev", _, 4) => one!(|a| (a as u32).reverse_bits().into()),
        ("brev", _, 8) => one!(|a| a.reverse_bits()),
        ("bfind", Class::Signed, 4) => {
            one!(|a| find(u64::from((a as i32 ^ (a as i32 >> 31)) as u32)))
        }
        ("bfind", Class::Signed, 8) => one!(|a| find((a as i64 ^ (a as i64 >> 63)) as u64)),
        ("bfind", _, _) => one!(|a| find(a)),
        ("bfind.shiftamt", _, 4) => one!(|a| shift_amount(a, 31)),
        ("bfind.shiftamt", _, 8) => one!(|a| shift_amount(a, 63)),
        ("sqrt", _, 4) => one!(|a| bits(single(a).sqrt())),
        ("sqrt", _, 8) => one!(|a| double(a).sqrt().to_bits()),
        ("rcp", _, 4) => one!(|a| bits(single(a).recip())),
        ("rcp", _, 8) => one!(|a| double(a).recip().to_bits()),
        ("rsqrt", _, 4) => one!(|a| bits(single(a).sqrt().recip())),
        ("rsqrt", _, 8) => one!(|a| double(a).sqrt().recip().to_bits()),
        ("ex2", _, 4) => one!(|a| bits(single(a).exp2())),
        ("lg2", _, 4) => one!(|a| bits(single(a).log2())),
        ("sin", _, 4) => one!(|a| bits(single(a).sin())),
        ("cos", _, 4) => one!(|a| bits(single(a).cos())),
        ("tanh", _, 4) => one!(|a| bits(single(a).tanh())),
        _ => return None,
    })
}

fn find(value: u64) -> u64 {
    match value {
        0 => 0xffff_ffff,
        _ => u64::from(63 - value.leading_zeros()),
    }
}

fn shift_amount(value: u64, top: u64) -> u64 {
    match value {
        0 => 0xffff_ffff,
        _ => top - find(value),
    }
}

/// Instructions with two values.
pub fn of_two(name: &str, kind: Type) -> Option<Two> {
    if kind.is_float() {
        return of_two_floats(name, kind.size);
    }
    let is_signed = kind.is_signed();
    Some(match (name, is_signed, kind.size) {
        ("add", _, 2) => two!(|a, b| cut(a.wrapping_add(b), 2)),
        ("add", _, 4) => two!(|a, b| cut(a.wrapping_add(b), 4)),
        ("add", _, 8) => two!(|a, b| a.wrapping_add(b)),
        ("sub", _, 2) => two!(|a, b| cut(a.wrapping_sub(b), 2)),
        ("sub", _, 4) => two!(|a, b| cut(a.wrapping_sub(b), 4)),
        ("sub", _, 8) => two!(|a, b| a.wrapping_sub(b)),
        ("mul.lo", _, 2) => two!(|a, b| cut(a.wrapping_mul(b), 2)),
        ("mul.lo", _, 4) => two!(|a, b| cut(a.wrapping_mul(b), 4)),
        ("mul.lo", _, 8) => two!(|a, b| a.wrapping_mul(b)),
        ("mul.hi", false, 2) => two!(|a, b| cut((a * b) >> 16, 2)),
        ("mul.hi", true, 2) => two!(|a, b| cut(((extend(a, 2) * extend(b, 2)) >> 16) as u64, 2)),
        ("mul.hi", false, 4) => two!(|a, b| a.wrapping_mul(b) >> 32),
        ("mul.hi", true, 4) => two!(|a, b| cut(((extend(a, 4) * extend(b, 4)) >> 32) as u64, 4)),
        ("mul.hi", false, 8) => two!(|a, b| ((u128::from(a) * u128::from(b)) >> 64) as u64),
        ("mul.hi", true, 8) => {
            two!(|a, b| ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64)
        }
        ("mul.wide", false, _) => two!(|a, b| a.wrapping_mul(b)),
        ("mul.wide", true, 2) => two!(|a, b| cut((extend(a, 2) * extend(b, 2)) as u64, 4)),
        ("mul.wide", true, 4) => two!(|a, b| (extend(a, 4) * extend(b, 4)) as u64),
        ("mul24.lo", _, 4) => two!(|a, b| cut((a & 0xff_ffff).wrapping_mul(b & 0xff_ffff), 4)),
        ("div", false, _) => two!(|a, b| a.checked_div(b).unwrap_or(u64::MAX)),
        ("div", true, 2) => two!(|a, b| cut(divide(a, b, 2), 2)),
        ("div", true, 4) => two!(|a, b| cut(divide(a, b, 4), 4)),
        ("div", true, 8) => two!(|a, b| divide(a, b, 8)),
        ("rem", false, _) => two!(|a, b| a.checked_rem(b).unwrap_or(a)),
        ("rem", true, 2) => two!(|a, b| cut(remainder(a, b, 2), 2)),
        ("rem", true, 4) => two!(|a, b| cut(remainder(a, b, 4), 4)),
        ("rem", true, 8) => two!(|a, b| remainder(a, b, 8)),
        ("min", false, _) => two!(|a, b| a.min(b)),
        ("max", false, _) => two!(|a, b| a.max(b)),
        ("min", true, 2) => two!(|a, b| if extend(a, 2) < extend(b, 2) { a } else { b }),
        ("min", true, 4) => two!(|a, b| if extend(a, 4) < extend(b, 4) { a } else { b }),
        ("min", true, 8) => two!(|a, b| (a as i64).min(b as i64) as u64),
        ("max", true, 2) => two!(|a, b| if extend(a, 2) > extend(b, 2) { a } else { b }),
        ("max", true, 4) => two!(|a, b| if extend(a, 4) > extend(b, 4) { a } else { b }),
        ("max", true, 8) => two!(|a, b| (a as i64).max(b as i64) as u64),
        ("and", ..) => two!(|a, b| a & b),
        ("or", ..) => two!(|a, b| a | b),
        ("xor", ..) => two!(|a, b| a ^ b),
        ("shl", _, 2) => two!(|a, b| if b < 16 { cut(a << b, 2) } else { 0 }),
        ("shl", _, 4) => two!(|a, b| if b < 32 { cut(a << b, 4) } else { 0 }),
        ("shl", _, 8) => two!(|a, b| if b < 64 { a << b } else { 0 }),
        ("shr", false, _) => two!(|a, b| if b < 64 { a >> b } else { 0 }),
        ("shr", true, 2) => two!(|a, b| cut((extend(a, 2) >> b.min(63)) as u64, 2)),
        ("shr", true, 4) => two!(|a, b| cut((extend(a, 4) >> b.min(63)) as u64, 4)),
        ("shr", true, 8) => two!(|a, b| (a as i64 >> b.min(63)) as u64),
        _ => return None,
    })
}

fn divide(a: u64, b: u64, size: u8) -> u64 {
    match extend(b, size) {
        0 => u64::MAX,
        b => extend(a, size).wrapping_div(b) as u64,
    }
}

fn remainder(a: u64, b: u64, size: u8) -> u64 {
    match extend(b, size) {
        0 => a,
        b => extend(a, size).wrapping_rem(b) as u64,
    }
}

fn of_two_floats(name: &str, size: u8) -> Option<Two> {
    Some(match (name, size) {
        ("add", 4) => two!(|a, b| bits(single(a) + single(b))),
        ("sub", 4) => two!(|a, b| bits(single(a) - single(b))),
        ("mul", 4) => two!(|a, b| bits(single(a) * single(b))),
        ("div", 4) => two!(|a, b| bits(single(a) / single(b))),
        ("min", 4) => two!(|a, b| bits(single(a).min(single(b)))),
        ("max", 4) => two!(|a, b| bits(single(a).max(single(b)))),
        ("copysign", 4) => two!(|a, b| bits(single(b).copysign(single(a)))),
        ("add", 8) => two!(|a, b| (double(a) + double(b)).to_bits()),
        ("sub", 8) => two!(|a, b| (double(a) - double(b)).to_bits()),
        ("mul", 8) => two!(|a, b| (double(a) * double(b)).to_bits()),
        ("div", 8) => two!(|a, b| (double(a) / double(b)).to_bits()),
        ("min", 8) => two!(|a, b| double(a).min(double(b)).to_bits()),
        ("max", 8) => two!(|a, b| double(a).max(double(b)).to_bits()),
        ("copysign", 8) => two!(|a, b| double(b).copysign(double(a)).to_bits()),
        _ => return None,
    })
}

/// Instructions with three values.
pub fn of_three(name: &str, kind: Type) -> Option<Three> {
    Some(match (name, kind.class, kind.size) {
        ("fma" | "mad", Class::Float, 4) => {
            three!(|a, b, c| bits(single(a).mul_add(single(b), single(c))))
        }
        ("fma" | "mad", Class::Float, 8) => {
            three!(|a, b, c| double(a).mul_add(double(b), double(c)).to_bits())
        }
        ("mad.lo", _, 2) => three!(|a, b, c| cut(a.wrapping_mul(b).wrapping_add(c), 2)),
        ("mad.lo", _, 4) => three!(|a, b, c| cut(a.wrapping_mul(b).wrapping_add(c), 4)),
        ("mad.lo", _, 8) => three!(|a, b, c| a.wrapping_mul(b).wrapping_add(c)),
        ("mad.hi", Class::Signed, 4) => {
            three!(|a, b, c| cut(
                (((extend(a, 4) * extend(b, 4)) >> 32) as u64).wrapping_add(c),
                4
            ))
        }
        ("mad.hi", _, 4) => three!(|a, b, c| cut((a.wrapping_mul(b) >> 32).wrapping_add(c), 4)),
        ("mad.hi", Class::Signed, 8) => {
            three!(
                |a, b, c| (((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64)
                    .wrapping_add(c)
            )
        }
        ("mad.hi", _, 8) => {
            three!(|a, b, c| (((u128::from(a) * u128::from(b)) >> 64) as u64).wrapping_add(c))
        }
        ("mad.wide", Class::Signed, 2) => {
            three!(|a, b, c| cut(((extend(a, 2) * extend(b, 2)) as u64).wrapping_add(c), 4))
        }
        ("mad.wide", Class::Signed, 4) => {
            three!(|a, b, c| ((extend(a, 4) * extend(b, 4)) as u64).wrapping_add(c))
        }
        ("mad.wide", _, 2) => three!(|a, b, c| cut(a.wrapping_mul(b).wrapping_add(c), 4)),
        ("mad.wide", _, 4) => three!(|a, b, c| a.wrapping_mul(b).wrapping_add(c)),
        ("sad", Class::Signed, 4) => {
            three!(|a, b, c| cut(extend(a, 4).abs_diff(extend(b, 4)).wrapping_add(c), 4))
        }
        ("sad", _, _) => three!(|a, b, c| a.abs_diff(b).wrapping_add(c)),
        ("shf.l.wrap", ..) => three!(|a, b, c| funnel(a, b) << (c & 31) >> 32),
        ("shf.r.wrap", ..) => three!(|a, b, c| cut(funnel(a, b) >> (c & 31), 4)),
        ("shf.l.clamp", ..) => {
            three!(|a, b, c| (u128::from(funnel(a, b)) << c.min(32) >> 32) as u64 & 0xffff_ffff)
        }
        ("shf.r.clamp", ..) => three!(|a, b, c| cut(funnel(a, b) >> c.min(32), 4)),
        ("bfe", Class::Unsigned, 4) => three!(|a, b, c| field(a, b, c)),
        ("bfe", Class::Unsigned, 8) => three!(|a, b, c| field(a, b, c)),
        ("bfe", Class::Signed, 4) => three!(|a, b, c| cut(signed_field(extend(a, 4), b, c, 32), 4)),
        ("bfe", Class::Signed, 8) => three!(|a, b, c| signed_field(a as i64, b, c, 64)),
        ("prmt", ..) => three!(|a, b, c| permute(a, b, c)),
        _ => return None,
    })
}

fn funnel(low: u64, high: u64) -> u64 {
    high << 32 | low
}

fn field(value: u64, position: u64, length: u64) -> u64 {
    let (position, length) = (position & 0xff, length & 0xff);
    let shifted = if position < 64 { value >> position } else { 0 };
    if length < 64 {
        shifted & ((1 << length) - 1)
    } else {
        shifted
    }
}

fn signed_field(value: i64, position: u64, length: u64, width: u64) -> u64 {
    let (position, length) = (position & 0xff, length & 0xff);
    if length == 0 {
        return 0;
    }
    let top = (position + length - 1).min(width - 1);
    let sign = value >> top & 1;
    let low = field(
        value as u64,
        position,
        length.min(width.saturating_sub(position)),
    );
    let kept = length.min(width.saturating_sub(position));
    match sign {
        0 => low,
        _ if kept >= 64 => low,
        _ => low | u64::MAX << kept,
    }
}

fn permute(a: u64, b: u64, selector: u64) -> u64 {
    let bytes = funnel(a, b);
    (0..4).fold(0, |result, nth| {
        let choice = selector >> (4 * nth) & 0xf;
        let byte = bytes >> (8 * (choice & 7)) & 0xff;
        let byte = match choice & 8 {
            0 => byte,
            _ if byte & 0x80 != 0 => 0xff,
            _ => 0,
        };
        result | byte << (8 * nth)
    })
}

/// Bit field insertion.
pub fn insert(value: u64, into: u64, position: u64, length: u64, size: u8) -> u64 {
    let width = 8 * u64::from(size);
    let (position, length) = (position & 0xff, length & 0xff);
    if position >= width || length == 0 {
        return into;
    }
    let length = length.min(width - position);
    let mask = (if length >= 64 {
        u64::MAX
    } else {
        (1 << length) - 1
    }) << position;
    into & !mask | value << position & mask
}
