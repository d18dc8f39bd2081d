//! What the caller of a C function points to. The functions here trust it as `cuda.h` does: a pointer is NULL or good.

use std::ffi::{CStr, c_char};

use crate::abi::*;

/// Writes a result.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for NULL.
pub fn put<T>(to: *mut T, value: T) -> Outcome<()> {
    if to.is_null() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: the caller of the entry point keeps cuda.h's contract: room for one value.
    unsafe { to.write_unaligned(value) };
    Ok(())
}

/// Writes a result that the caller may not want.
pub fn put_if<T>(to: *mut T, value: T) {
    let _ = put(to, value);
}

/// Reads an argument.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for NULL.
pub fn get<T: Copy>(from: *const T) -> Outcome<T> {
    if from.is_null() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: the caller of the entry point keeps cuda.h's contract: one value stands there.
    Ok(unsafe { from.read_unaligned() })
}

/// Reads an array.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for NULL, unless it has no elements.
pub fn list<T: Copy>(from: *const T, count: usize) -> Outcome<Vec<T>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: as above, `count` values.
    (0..count).map(|nth| get(from.wrapping_add(nth))).collect()
}

/// Writes an array.
pub fn put_list<T: Copy>(to: *mut T, values: &[T]) {
    if !to.is_null() {
        for (nth, value) in values.iter().enumerate() {
            // SAFETY: the caller of the entry point has room for as many values as it said.
            unsafe { to.add(nth).write_unaligned(*value) };
        }
    }
}

/// The protocol of functions that list things: NULL asks for the number; else at most `*count` are written.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` without a place for the number.
pub fn put_counted<T: Copy>(to: *mut T, count: *mut usize, values: &[T]) -> Outcome<()> {
    if to.is_null() {
        return put(count, values.len());
    }
    let room = get(count)?;
    put_list(to, &values[..values.len().min(room)]);
    for nth in values.len()..room {
        if size_of::<T>() == size_of::<usize>() {
            // SAFETY: within the caller's room; handles that are too many become NULL.
            unsafe { to.add(nth).cast::<usize>().write_unaligned(0) };
        }
    }
    put(count, values.len().min(room))
}

/// A string argument.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for NULL or text that is not UTF-8.
pub fn text<'a>(from: *const c_char) -> Outcome<&'a str> {
    if from.is_null() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: the caller of the entry point keeps cuda.h's contract: a string that ends with zero.
    let text = unsafe { CStr::from_ptr(from) };
    text.to_str().map_err(|_| CUDA_ERROR_INVALID_VALUE)
}

/// Writes a string into a buffer of `room` bytes, cut to it and ended with zero.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` without room.
pub fn put_text(to: *mut c_char, room: usize, text: &str) -> Outcome<()> {
    if to.is_null() || room == 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let bytes = &text.as_bytes()[..text.len().min(room - 1)];
    put_list(to.cast::<u8>(), bytes);
    put(to.cast::<u8>().wrapping_add(bytes.len()), 0)
}
