//! Running a known kernel over a range of work-items.

use std::sync::Arc;
use std::time::Duration;

use opencl_sys::CL_INVALID_KERNEL_ARGS;

use super::known;
use super::number::{Number, Scalar};
use super::parse::Signature;
use crate::core::geometry::{self, Side};
use crate::core::mem::Mem;
use crate::ffi::CLResult;

/// An argument as it was when the kernel was enqueued.
#[derive(Clone)]
pub enum Argument {
    Memory(Option<Arc<Mem>>),
    Value(Vec<u8>),
    /// Bytes of local memory.
    Local(usize),
    Sampler,
    Queue,
}

/// The work-items: offset, global size, local size.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub offset: [usize; 3],
    pub global: [usize; 3],
    pub local: [usize; 3],
}

impl Range {
    /// Work-items in all. A toy kernel knows an item by its number in row-major order.
    fn items(&self) -> std::ops::Range<usize> {
        let first =
            (self.offset[2] * self.global[1] + self.offset[1]) * self.global[0] + self.offset[0];
        first..first + self.global.iter().product::<usize>()
    }
}

/// Runs the kernel; `CL_OUT_OF_RESOURCES` if it leaves a buffer, as a GPU's memory fault ends.
pub fn run(kernel: &Signature, arguments: &[Argument], range: Range) -> CLResult<()> {
    match known::element(kernel) {
        Scalar::Uchar => typed::<u8>(kernel, arguments, range),
        Scalar::Int => typed::<i32>(kernel, arguments, range),
        Scalar::Uint => typed::<u32>(kernel, arguments, range),
        Scalar::Long => typed::<i64>(kernel, arguments, range),
        Scalar::Ulong => typed::<u64>(kernel, arguments, range),
        Scalar::Float => typed::<f32>(kernel, arguments, range),
        Scalar::Double => typed::<f64>(kernel, arguments, range),
    }
}

/// A buffer as an array.
struct Array<'a>(&'a Mem);

impl Array<'_> {
    /// Where an element stands, inside this buffer.
    fn place<T: Number>(&self, index: usize) -> CLResult<usize> {
        let size = size_of::<T>();
        self.0.place(index * size, size).map_err(|_| {
            crate::report::violation(format!(
                "kernel accesses element {index} of a buffer of {} bytes",
                self.0.size
            ));
            opencl_sys::CL_OUT_OF_RESOURCES
        })
    }

    fn get<T: Number>(&self, index: usize) -> CLResult<T> {
        T::load(&self.0.memory, self.place::<T>(index)?)
    }

    fn set<T: Number>(&self, index: usize, value: T) -> CLResult<()> {
        value.store(&self.0.memory, self.place::<T>(index)?)
    }
}

fn mem(arguments: &[Argument], at: usize) -> CLResult<&Mem> {
    match arguments.get(at) {
        Some(Argument::Memory(Some(mem))) => Ok(mem),
        _ => Err(CL_INVALID_KERNEL_ARGS),
    }
}

fn value<T: Number>(arguments: &[Argument], at: usize) -> CLResult<T> {
    match arguments.get(at) {
        Some(Argument::Value(bytes)) => Ok(T::of(bytes)),
        _ => Err(CL_INVALID_KERNEL_ARGS),
    }
}

fn typed<T: Number>(kernel: &Signature, arguments: &[Argument], range: Range) -> CLResult<()> {
    let array = |at: usize| mem(arguments, at).map(Array);
    let mut items = range.items();
    match kernel.name.as_str() {
        "idle" => Ok(()),
        "add" => {
            let (a, b, c) = (array(0)?, array(1)?, array(2)?);
            items.try_for_each(|i| c.set(i, a.get::<T>(i)?.plus(b.get(i)?)))
        }
        "scale" => {
            let (a, factor) = (array(0)?, value::<T>(arguments, 1)?);
            items.try_for_each(|i| a.set(i, a.get::<T>(i)?.times(factor)))
        }
        "increase" => {
            let (a, by) = (array(0)?, value::<T>(arguments, 1)?);
            items.try_for_each(|i| a.set(i, a.get::<T>(i)?.plus(by)))
        }
        "fill_seq" => {
            let out = array(0)?;
            items.try_for_each(|i| out.set(i, T::of_index(i)))
        }
        "fill_behind" => {
            let out = array(1)?;
            items.try_for_each(|i| out.set(i, T::of_index(i)))
        }
        "xorshift" => {
            let (state, rounds) = (array(0)?, value::<u32>(arguments, 1)?);
            items
                .try_for_each(|i| state.set(i, (0..rounds).fold(state.get(i)?, |x, _| xorshift(x))))
        }
        "wave_step" => wave_step(&array(0)?, &array(1)?, range),
        "sum" => {
            let (from, out) = (array(0)?, array(1)?);
            let total = items.try_fold(T::default(), |sum, i| {
                from.get::<T>(i).map(|value| sum.plus(value))
            })?;
            out.set(0, total)
        }
        "accumulate" => {
            let (a, b) = (array(0)?, array(1)?);
            items.try_for_each(|i| a.set(i, a.get::<T>(i)?.plus(b.get(i)?)))
        }
        "copy" => {
            let (from, to) = (array(0)?, array(1)?);
            items.try_for_each(|i| to.set(i, from.get::<T>(i)?))
        }
        "reverse" => reverse::<T>(&array(0)?, arguments, range),
        "spin" => {
            let (out, time) = (array(0)?, value::<u32>(arguments, 1)?);
            std::thread::sleep(Duration::from_millis(u64::from(time)));
            items.try_for_each(|i| out.set(i, out.get::<T>(i)?.plus(T::of_index(1))))
        }
        "copy_image" => copy_image(mem(arguments, 0)?, mem(arguments, 1)?),
        "sample" => sample::<T>(mem(arguments, 0)?, &array(2)?, range),
        _ => Err(CL_INVALID_KERNEL_ARGS),
    }
}

/// Marsaglia's 32-bit xorshift.
pub fn xorshift(mut x: u32) -> u32 {
    x ^= x << 13;
    x ^= x >> 17;
    x ^ (x << 5)
}

fn wave_step(now: &Array<'_>, before: &Array<'_>, range: Range) -> CLResult<()> {
    let points: usize = range.global.iter().product();
    range.items().try_for_each(|i| {
        let left: u32 = now.get((i + points - 1) % points)?;
        let right: u32 = now.get((i + 1) % points)?;
        let sum = left.wrapping_add(right);
        before.set(i, sum.wrapping_sub(before.get(i)?))
    })
}

fn reverse<T: Number>(a: &Array<'_>, arguments: &[Argument], range: Range) -> CLResult<()> {
    let group: usize = range.local.iter().product();
    match arguments.get(1) {
        Some(Argument::Local(bytes)) if *bytes >= group * size_of::<T>() => {}
        _ => return Err(CL_INVALID_KERNEL_ARGS),
    }
    range.items().step_by(group).try_for_each(|first| {
        let scratch = (first..first + group)
            .map(|i| a.get(i))
            .collect::<CLResult<Vec<T>>>()?;
        scratch
            .iter()
            .rev()
            .enumerate()
            .try_for_each(|(at, &value)| a.set(first + at, value))
    })
}

fn copy_image(from: &Mem, to: &Mem) -> CLResult<()> {
    let (source, target) = (from.shape()?, to.shape()?);
    let (from_place, extent) = source.region([0; 3], source.counts())?;
    let (to_place, _) = target
        .region([0; 3], source.counts())
        .map_err(|_| opencl_sys::CL_OUT_OF_RESOURCES)?;
    geometry::copy(
        Side {
            memory: &to.memory,
            base: to.offset,
            pitched: to_place,
        },
        Side {
            memory: &from.memory,
            base: from.offset,
            pitched: from_place,
        },
        extent,
    )
}

fn sample<T: Number>(from: &Mem, out: &Array<'_>, range: Range) -> CLResult<()> {
    let shape = from.shape()?;
    let counts = shape.counts();
    range.items().try_for_each(|i| {
        let origin = [
            i % counts[0],
            i / counts[0] % counts[1],
            i / counts[0] / counts[1],
        ];
        let (place, _) = shape
            .region(origin, [1; 3])
            .map_err(|_| opencl_sys::CL_OUT_OF_RESOURCES)?;
        out.set(i, T::load(&from.memory, from.offset + place.start)?)
    })
}
