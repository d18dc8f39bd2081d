//! Arithmetic on the element types of toy kernels.

use crate::ffi::CLResult;
use crate::memory::Memory;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    Uchar,
    Int,
    Uint,
    Long,
    Ulong,
    Float,
    Double,
}

impl Scalar {
    /// By its name in OpenCL C.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "uchar" => Scalar::Uchar,
            "int" => Scalar::Int,
            "uint" => Scalar::Uint,
            "long" => Scalar::Long,
            "ulong" => Scalar::Ulong,
            "float" => Scalar::Float,
            "double" => Scalar::Double,
            _ => return None,
        })
    }

    /// Bytes.
    pub fn size(self) -> usize {
        match self {
            Scalar::Uchar => 1,
            Scalar::Int | Scalar::Uint | Scalar::Float => 4,
            Scalar::Long | Scalar::Ulong | Scalar::Double => 8,
        }
    }
}

/// An element: integers wrap around.
pub trait Number: Copy + Default {
    fn load(memory: &Memory, offset: usize) -> CLResult<Self>;
    fn store(self, memory: &Memory, offset: usize) -> CLResult<()>;
    /// The value of an argument; its size was checked when it was set.
    fn of(bytes: &[u8]) -> Self;
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn of_index(index: usize) -> Self;
}

macro_rules! number {
    ($($t:ty: $plus:expr, $times:expr;)*) => {$(
        impl Number for $t {
            fn load(memory: &Memory, offset: usize) -> CLResult<Self> {
                memory.read(offset).map(Self::from_ne_bytes)
            }
            fn store(self, memory: &Memory, offset: usize) -> CLResult<()> {
                memory.write(offset, &self.to_ne_bytes())
            }
            fn of(bytes: &[u8]) -> Self {
                bytes.try_into().map(Self::from_ne_bytes).unwrap_or_default()
            }
            fn plus(self, other: Self) -> Self {
                $plus(self, other)
            }
            fn times(self, other: Self) -> Self {
                $times(self, other)
            }
            fn of_index(index: usize) -> Self {
                index as $t
            }
        }
    )*};
}
number! {
    u8: u8::wrapping_add, u8::wrapping_mul;
    i32: i32::wrapping_add, i32::wrapping_mul;
    u32: u32::wrapping_add, u32::wrapping_mul;
    i64: i64::wrapping_add, i64::wrapping_mul;
    u64: u64::wrapping_add, u64::wrapping_mul;
    f32: std::ops::Add::add, std::ops::Mul::mul;
    f64: std::ops::Add::add, std::ops::Mul::mul;
}
