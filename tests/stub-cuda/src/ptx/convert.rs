//! Conversions between types.

use super::types::{Class, Type, cut, extend};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    Nearest,
    Zero,
    Down,
    Up,
}

#[derive(Clone, Copy, Debug)]
pub struct Conversion {
    pub to: Type,
    pub from: Type,
    /// To an integral value; a float target gets one too.
    pub integral: Option<Rounding>,
    pub saturates: bool,
    /// Bytes of the target register.
    pub width: u8,
}

/// The rounding to integral values that a name has: `rni`, `rzi`, `rmi`, `rpi`.
pub fn integral(part: &str) -> Option<Rounding> {
    Some(match part {
        "rni" => Rounding::Nearest,
        "rzi" => Rounding::Zero,
        "rmi" => Rounding::Down,
        "rpi" => Rounding::Up,
        _ => return None,
    })
}

impl Conversion {
    pub fn of(self, value: u64) -> u64 {
        match (self.from.is_float(), self.to.is_float()) {
            (false, false) => self.whole(value),
            (false, true) => {
                let value = self.from.cut(value);
                let (single, double) = match self.from.class {
                    Class::Signed => {
                        let value = extend(value, self.from.size);
                        (value as f32, value as f64)
                    }
                    _ => (value as f32, value as f64),
                };
                match self.to.size {
                    4 => single.to_bits().into(),
                    _ => double.to_bits(),
                }
            }
            (true, _) => {
                let mut real = match self.from.size {
                    4 => f64::from(f32::from_bits(value as u32)),
                    _ => f64::from_bits(value),
                };
                real = match self.integral {
                    Some(Rounding::Nearest) => real.round_ties_even(),
                    Some(Rounding::Zero) => real.trunc(),
                    Some(Rounding::Down) => real.floor(),
                    Some(Rounding::Up) => real.ceil(),
                    None => real,
                };
                if self.to.is_float() {
                    if self.saturates {
                        real = if real.is_nan() {
                            0.0
                        } else {
                            real.clamp(0.0, 1.0)
                        };
                    }
                    return match self.to.size {
                        4 => (real as f32).to_bits().into(),
                        _ => real.to_bits(),
                    };
                }
                self.to_whole(real)
            }
        }
    }

    /// Beyond the target's range: its end.
    fn to_whole(self, real: f64) -> u64 {
        let value = match (self.to.is_signed(), self.to.size) {
            (false, 1) => u64::from(real as u8),
            (false, 2) => u64::from(real as u16),
            (false, 4) => u64::from(real as u32),
            (false, _) => real as u64,
            (true, 1) => real as i8 as u64,
            (true, 2) => real as i16 as u64,
            (true, 4) => real as i32 as u64,
            (true, _) => real as i64 as u64,
        };
        cut(value, self.width)
    }

    fn whole(self, value: u64) -> u64 {
        if !self.saturates && !self.from.is_signed() && !self.to.is_signed() {
            return self.to.cut(self.from.cut(value));
        }
        let wide: i128 = match self.from.is_signed() {
            true => extend(value, self.from.size).into(),
            false => self.from.cut(value).into(),
        };
        let bits = 8 * u32::from(self.to.size);
        let value = match (self.saturates, self.to.is_signed()) {
            (false, _) => wide as u64,
            (true, true) => wide.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1) as u64,
            (true, false) => wide.clamp(0, (1 << bits) - 1) as u64,
        };
        match self.to.is_signed() {
            true => cut(extend(value, self.to.size) as u64, self.width),
            false => self.to.cut(value),
        }
    }
}
