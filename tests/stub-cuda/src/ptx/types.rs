//! Types of values, spaces of memory.

/// What a value is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Bits,
    Unsigned,
    Signed,
    Float,
    Predicate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    pub class: Class,
    /// Bytes: 1, 2, 4, 8; predicates have 0.
    pub size: u8,
}

impl Type {
    /// `.u32` or `u32`.
    pub fn parse(word: &str) -> Option<Type> {
        let word = word.strip_prefix('.').unwrap_or(word);
        if word == "pred" {
            return Some(Type {
                class: Class::Predicate,
                size: 0,
            });
        }
        let (class, bits) = word.split_at_checked(1)?;
        let class = match class {
            "b" => Class::Bits,
            "u" => Class::Unsigned,
            "s" => Class::Signed,
            "f" => Class::Float,
            _ => return None,
        };
        let size = match bits {
            "8" => 1,
            "16" => 2,
            "32" => 4,
            "64" => 8,
            _ => return None,
        };
        (class != Class::Float || size >= 4).then_some(Type { class, size })
    }

    pub fn is_signed(self) -> bool {
        self.class == Class::Signed
    }

    pub fn is_float(self) -> bool {
        self.class == Class::Float
    }

    /// Cuts a value to the type's bits.
    pub fn cut(self, value: u64) -> u64 {
        cut(value, self.size)
    }
}

/// The low `size` bytes.
pub fn cut(value: u64, size: u8) -> u64 {
    match size {
        8 => value,
        _ => value & ((1 << (8 * u32::from(size))) - 1),
    }
}

/// The low `size` bytes as a signed number.
pub fn extend(value: u64, size: u8) -> i64 {
    let unused = 64 - 8 * u32::from(size);
    (value << unused) as i64 >> unused
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Generic,
    Global,
    Const,
    Shared,
    Local,
    Param,
}

impl Space {
    pub fn parse(word: &str) -> Option<Space> {
        Some(match word.strip_prefix('.').unwrap_or(word) {
            "global" => Space::Global,
            "const" => Space::Const,
            "shared" | "shared::cta" => Space::Shared,
            "local" => Space::Local,
            "param" | "param::entry" | "param::func" => Space::Param,
            _ => return None,
        })
    }
}
