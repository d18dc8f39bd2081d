//! Atomic operations: against other kernels, streams and the program too.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::code::Atomic;
use super::types::{Type, cut, extend};

/// Does one at a place; the value before it.
pub fn run(place: usize, operation: Atomic, kind: Type, b: u64, c: u64) -> u64 {
    let new = |old: u64| value(operation, kind, old, b, c);
    if kind.size == 8 && place.is_multiple_of(8) {
        let at = std::ptr::with_exposed_provenance_mut::<u64>(place);
        // SAFETY: the memory is there and aligned, as its caller has checked; the program may race with it.
        let at = unsafe { AtomicU64::from_ptr(at) };
        let change = |old| Some(new(old));
        return at
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, change)
            .unwrap_or(0);
    }
    if kind.size == 4 && place.is_multiple_of(4) {
        let at = std::ptr::with_exposed_provenance_mut::<u32>(place);
        // SAFETY: as above.
        let at = unsafe { AtomicU32::from_ptr(at) };
        let change = |old: u32| Some(new(old.into()) as u32);
        return at
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, change)
            .unwrap_or(0)
            .into();
    }
    // Shared memory that happens to be less aligned: nobody else has it.
    let old = super::access::read(place, kind.size);
    super::access::write(place, kind.size, new(old));
    old
}

fn value(operation: Atomic, kind: Type, old: u64, b: u64, c: u64) -> u64 {
    let size = kind.size;
    let is_less = |a: u64, b: u64| match kind.is_signed() {
        true => extend(a, size) < extend(b, size),
        false => a < b,
    };
    match operation {
        Atomic::Add if kind.is_float() && size == 4 => (f32::from_bits(old as u32)
            + f32::from_bits(b as u32))
        .to_bits()
        .into(),
        Atomic::Add if kind.is_float() => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        Atomic::Add => cut(old.wrapping_add(b), size),
        Atomic::And => old & b,
        Atomic::Or => old | b,
        Atomic::Xor => old ^ b,
        Atomic::Exchange => b,
        Atomic::Compare if old == b => c,
        Atomic::Compare => old,
        Atomic::Min => {
            if is_less(b, old) {
                b
            } else {
                old
            }
        }
        Atomic::Max => {
            if is_less(old, b) {
                b
            } else {
                old
            }
        }
        Atomic::Increase => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        Atomic::Decrease => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
    }
}
