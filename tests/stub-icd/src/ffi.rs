//! The border to C: what an entry point's arguments are, and how one is made out of a Rust block.
//!
//! The argument types here can only be made by a C caller's call (`FromC::from_c` is unsafe, and only the macros use
//! it), so their methods may rely on the specification's contract for that argument.

use std::ffi::{CStr, c_char, c_uchar, c_void};

use opencl_sys::{CL_INVALID_VALUE, CL_SUCCESS, cl_image_desc, cl_image_format, cl_int};

/// What an OpenCL call comes to; the error is the specification's code.
pub type CLResult<T> = Result<T, cl_int>;

/// An argument as C passes it.
pub trait FromC {
    type C;
    /// # Safety
    /// `c` must be what the OpenCL specification demands of this argument.
    unsafe fn from_c(c: Self::C) -> Self;
}

macro_rules! as_it_is {
    ($($t:ty),* $(,)?) => {$(
        impl FromC for $t {
            type C = $t;
            unsafe fn from_c(c: $t) -> $t { c }
        }
    )*};
}
as_it_is!(u32, i32, u64, usize, *mut c_void);
as_it_is!(
    Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    Option<unsafe extern "C" fn(*mut c_void, cl_int, *mut c_void)>,
    Option<unsafe extern "C" fn(*const c_char, *const c_void, usize, *mut c_void)>,
    Option<unsafe extern "C" fn(*mut c_void)>,
    Option<unsafe extern "C" fn(*mut c_void, u32, *mut *mut c_void, *mut c_void)>,
);

/// Plain data without pointers' obligations: any copy of it is fine.
pub trait Plain: Copy {}
impl Plain for u8 {}
impl Plain for i32 {}
impl Plain for u32 {}
impl Plain for u64 {}
impl Plain for usize {}
impl Plain for isize {}
impl Plain for *mut c_void {}
impl Plain for *const c_void {}
impl Plain for *const c_char {}
impl Plain for *const c_uchar {}
impl Plain for cl_image_format {}
impl Plain for cl_image_desc {}

/// A pointer that the call reads elements through; may be null.
#[derive(Clone, Copy)]
pub struct In<T>(*const T);

impl<T: Plain> FromC for In<T> {
    type C = *const T;
    unsafe fn from_c(c: *const T) -> Self {
        In(c)
    }
}

impl<T: Plain> In<T> {
    pub fn null() -> Self {
        In(std::ptr::null())
    }

    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// The `count` elements, or `None` for null.
    pub fn list(&self, count: usize) -> Option<Vec<T>> {
        // SAFETY: called for pointers that are not null; by the contract of `FromC` there are as many elements as the
        // call says.
        let element = |at| unsafe { self.0.add(at).read_unaligned() };
        (!self.0.is_null()).then(|| (0..count).map(element).collect())
    }

    /// The one element, or `CL_INVALID_VALUE` for null.
    pub fn one(&self) -> CLResult<T> {
        self.list(1).map(|list| list[0]).ok_or(CL_INVALID_VALUE)
    }

    /// Three elements: an origin or region.
    pub fn triple(&self) -> CLResult<[T; 3]> {
        self.list(3)
            .and_then(|list| list.try_into().ok())
            .ok_or(CL_INVALID_VALUE)
    }

    /// The elements up to and with the zero that ends the list; empty for null.
    pub fn until_zero(&self, step: usize) -> Vec<T>
    where
        T: PartialEq + Default,
    {
        let mut list = Vec::new();
        while !self.0.is_null() {
            // SAFETY: the list is ended by zero at a multiple of `step`, as the specification says of properties.
            let value = unsafe { self.0.add(list.len()).read_unaligned() };
            let ends = list.len().is_multiple_of(step) && value == T::default();
            list.push(value);
            if ends {
                break;
            }
        }
        list
    }
}

/// A pointer that the call writes elements through (or, named so by opencl-sys, reads pointers from); may be null.
#[derive(Clone, Copy)]
pub struct Out<T>(*mut T);

impl<T: Plain> FromC for Out<T> {
    type C = *mut T;
    unsafe fn from_c(c: *mut T) -> Self {
        Out(c)
    }
}

impl<T: Plain> Out<T> {
    pub fn null() -> Self {
        Out(std::ptr::null_mut())
    }

    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// Writes the element, if the caller wants it.
    pub fn set(&self, value: T) {
        self.set_list(&[value]);
    }

    pub fn set_list(&self, values: &[T]) {
        if !self.0.is_null() {
            for (at, value) in values.iter().enumerate() {
                // SAFETY: not null, and by the contract of `FromC` there is room for what the call returns.
                unsafe { self.0.add(at).write_unaligned(*value) };
            }
        }
    }

    /// The same pointer, read from.
    pub fn input(&self) -> In<T> {
        In(self.0)
    }
}

/// A C string; may be null.
#[derive(Clone, Copy)]
pub struct Text(*const c_char);

impl FromC for Text {
    type C = *const c_char;
    unsafe fn from_c(c: *const c_char) -> Self {
        Text(c)
    }
}

impl Text {
    pub fn get(&self) -> Option<String> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: not null, so a C string by the contract of `FromC`.
        let text = unsafe { CStr::from_ptr(self.0) };
        Some(text.to_string_lossy().into_owned())
    }
}

/// Bytes that the call or its command reads from the program's memory; may be null.
#[derive(Clone, Copy)]
pub struct HostIn(*const c_void);
/// Bytes that the call or its command reads or writes in the program's memory; may be null.
#[derive(Clone, Copy)]
pub struct HostOut(*mut c_void);

impl FromC for HostIn {
    type C = *const c_void;
    unsafe fn from_c(c: *const c_void) -> Self {
        HostIn(c)
    }
}

impl FromC for HostOut {
    type C = *mut c_void;
    unsafe fn from_c(c: *mut c_void) -> Self {
        HostOut(c)
    }
}

impl HostIn {
    pub fn address(&self) -> *mut u8 {
        self.0.cast_mut().cast()
    }

    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    pub fn bytes(&self, count: usize) -> Option<Vec<u8>> {
        In(self.0.cast::<u8>()).list(count)
    }
}

impl HostOut {
    pub fn null() -> Self {
        HostOut(std::ptr::null_mut())
    }

    pub fn address(&self) -> *mut u8 {
        self.0.cast()
    }

    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    pub fn write(&self, bytes: &[u8]) {
        Out(self.0.cast::<u8>()).set_list(bytes);
    }

    /// Writes one blob behind each of the pointers that stand here, as `CL_PROGRAM_BINARIES` wants it.
    pub fn write_behind(&self, blobs: &[Vec<u8>]) {
        let pointers = In(self.0.cast::<*mut c_void>().cast_const())
            .list(blobs.len())
            .unwrap_or_default();
        for (pointer, blob) in pointers.into_iter().zip(blobs) {
            Out(pointer.cast::<u8>()).set_list(blob);
        }
    }
}

/// Source strings, as `clCreateProgramWithSource` takes them; `None` if one is null.
pub fn texts(strings: Out<*const c_char>, lengths: In<usize>, count: usize) -> Option<Vec<String>> {
    let lengths = lengths.list(count).unwrap_or_else(|| vec![0; count]);
    let one = |(start, length): (*const c_char, usize)| match length {
        0 => Text(start).get(),
        length => In(start.cast::<u8>())
            .list(length)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    };
    strings
        .input()
        .list(count)?
        .into_iter()
        .zip(lengths)
        .map(one)
        .collect()
}

/// Binaries, as `clCreateProgramWithBinary` takes them; `None` if one is null or empty.
pub fn blobs(
    pointers: Out<*const c_uchar>,
    lengths: In<usize>,
    count: usize,
) -> Option<Vec<Vec<u8>>> {
    let one = |(start, length): (*const c_uchar, usize)| {
        In(start).list(length).filter(|blob| !blob.is_empty())
    };
    pointers
        .input()
        .list(count)?
        .into_iter()
        .zip(lengths.list(count)?)
        .map(one)
        .collect()
}

/// The status that C gets.
pub fn status(result: CLResult<()>) -> cl_int {
    result.err().unwrap_or(CL_SUCCESS)
}
