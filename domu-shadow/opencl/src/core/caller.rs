//! The pointers that a program passes.

use std::ffi::{CStr, CString, c_char, c_void};

use crate::CLResult;

/// Sizes that the program passed, which outlive the call.
#[derive(Clone, Copy)]
pub struct Sizes {
    from: *const usize,
    values: [usize; 3],
    is_copied: bool,
}

impl Sizes {
    /// As the program passed it: NULL for NULL.
    #[inline]
    pub fn pointer(&self) -> *const usize {
        if self.is_copied {
            self.values.as_ptr()
        } else {
            self.from
        }
    }
}

/// Drivers may load a pattern as one vector.
#[derive(Clone, Copy)]
#[repr(align(128))]
struct Aligned([u8; 128]);

/// A pattern that the program passed, which outlives the call.
#[derive(Clone, Copy)]
pub struct Pattern {
    from: *const c_void,
    bytes: Aligned,
    is_copied: bool,
}

impl Pattern {
    /// As the program passed it: NULL for NULL.
    pub fn pointer(&self) -> *const c_void {
        if self.is_copied {
            self.bytes.0.as_ptr().cast()
        } else {
            self.from
        }
    }
}

/// Proof that an entry point is running: its C caller vouches for the pointers it passed, as the specification says
/// for each parameter. This is the only way that program memory is read or written.
pub struct Caller(());

impl Caller {
    /// # Safety
    /// The pointers given to the methods must be arguments of a running entry point, used as its specification says.
    pub unsafe fn new() -> Caller {
        Caller(())
    }

    /// `count` values at `from`; none if it is NULL.
    pub fn list<T: Copy>(&self, from: *const T, count: usize) -> &[T] {
        if from.is_null() || count == 0 {
            return &[];
        }
        // SAFETY: the program passed `from` as an array of `count` values that it leaves alone during the call.
        unsafe { std::slice::from_raw_parts(from, count) }
    }

    /// A property list up to and with its ending zero; `None` for NULL.
    pub fn properties<T: Copy + Default + PartialEq>(&self, from: *const T) -> Option<Vec<T>> {
        if from.is_null() {
            return None;
        }
        let mut list = Vec::new();
        loop {
            // SAFETY: lists consist of pairs and end with a zero, which is where this stops.
            let name = unsafe { *from.add(list.len()) };
            list.push(name);
            if name == T::default() {
                return Some(list);
            }
            // SAFETY: a name is followed by its value.
            list.push(unsafe { *from.add(list.len()) });
        }
    }

    /// The values of a list before its ending zero; none for NULL.
    pub fn until_zero<T: Copy + Default + PartialEq>(&self, from: *const T) -> Vec<T> {
        if from.is_null() {
            return Vec::new();
        }
        let length = (0..).take_while(|&at| {
            // SAFETY: the list ends with a zero, behind which nothing is read.
            let value = unsafe { *from.add(at) };
            value != T::default()
        });
        self.list(from, length.count()).to_vec()
    }

    /// A copy of up to three sizes; of more (more dimensions than any device has) only the pointer.
    #[inline]
    pub fn sizes(&self, from: *const usize, count: usize) -> Sizes {
        let mut values = [0; 3];
        if count <= 3 {
            let given = self.list(from, count);
            values[..given.len()].copy_from_slice(given);
        }
        Sizes {
            from,
            values,
            is_copied: count <= 3 && !from.is_null(),
        }
    }

    /// A copy of a pattern of up to 128 bytes, the longest there is; else only the pointer.
    pub fn pattern(&self, from: *const c_void, length: usize) -> Pattern {
        let mut bytes = Aligned([0; 128]);
        let given = self.list(from.cast::<u8>(), length.min(128));
        bytes.0[..given.len()].copy_from_slice(given);
        Pattern {
            from,
            bytes,
            is_copied: length <= 128 && !from.is_null(),
        }
    }

    /// A C string; `None` for NULL.
    pub fn text(&self, from: *const c_char) -> Option<CString> {
        // SAFETY: the program passed a zero-ended string.
        (!from.is_null()).then(|| unsafe { CStr::from_ptr(from) }.to_owned())
    }

    /// A string of `length` bytes, or zero-ended where `length` is 0: `clCreateProgramWithSource`'s rule.
    pub fn source(&self, from: *const c_char, length: usize) -> Vec<u8> {
        if length == 0 {
            return self.text(from).map(CString::into_bytes).unwrap_or_default();
        }
        self.list(from.cast::<u8>(), length).to_vec()
    }

    /// Writes a result where the program wants it; nothing for NULL.
    pub fn give<T>(&self, to: *mut T, value: T) {
        if !to.is_null() {
            // SAFETY: the program passed room for one value.
            unsafe { to.write(value) };
        }
    }

    /// Writes results to an array of at least as many.
    pub fn give_list<T: Copy>(&self, to: *mut T, values: &[T]) {
        if !to.is_null() {
            // SAFETY: the program passed room for this many values (checked against the count that it gave).
            unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len()) };
        }
    }

    /// The `(count, array, count_ret)` protocol of `clGetPlatformIDs` and its kin.
    ///
    /// # Errors
    /// `CL_INVALID_VALUE` for an array without entries or neither array nor count.
    pub fn give_some<T: Copy>(
        &self,
        values: &[T],
        entries: u32,
        to: *mut T,
        count: *mut u32,
    ) -> CLResult<()> {
        if (entries == 0 && !to.is_null()) || (to.is_null() && count.is_null()) {
            return Err(opencl_sys::CL_INVALID_VALUE);
        }
        self.give_list(to, &values[..values.len().min(entries as usize)]);
        self.give(count, u32::try_from(values.len()).unwrap_or(u32::MAX));
        Ok(())
    }
}
