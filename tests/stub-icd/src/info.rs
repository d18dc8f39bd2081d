//! The size/NULL protocol of every `clGet*Info`, once.

use std::ffi::c_void;

use opencl_sys::CL_INVALID_VALUE;

use crate::ffi::{CLResult, HostOut, Out};

/// Where one info query's answer goes.
pub struct Answer {
    size: usize,
    value: HostOut,
    size_ret: Out<usize>,
}

/// A value with a fixed image in memory.
pub trait Value {
    fn image(&self) -> Vec<u8>;
}

macro_rules! numbers {
    ($($t:ty),*) => {$(impl Value for $t { fn image(&self) -> Vec<u8> { self.to_ne_bytes().to_vec() } })*};
}
numbers!(i32, u32, u64, usize, isize);

impl Value for *mut c_void {
    fn image(&self) -> Vec<u8> {
        self.addr().image()
    }
}

impl Value for bool {
    fn image(&self) -> Vec<u8> {
        u32::from(*self).image()
    }
}

impl Answer {
    pub fn new(size: usize, value: HostOut, size_ret: Out<usize>) -> Self {
        Answer {
            size,
            value,
            size_ret,
        }
    }

    /// "`CL_INVALID_VALUE` if size in bytes specified by `param_value_size` is < size of return type and
    /// `param_value` is not NULL."
    pub fn bytes(self, bytes: &[u8]) -> CLResult<()> {
        if !self.value.is_null() {
            if self.size < bytes.len() {
                return Err(CL_INVALID_VALUE);
            }
            self.value.write(bytes);
        }
        self.size_ret.set(bytes.len());
        Ok(())
    }

    pub fn value(self, value: impl Value) -> CLResult<()> {
        self.bytes(&value.image())
    }

    pub fn list<T: Value>(self, values: &[T]) -> CLResult<()> {
        self.bytes(&values.iter().flat_map(Value::image).collect::<Vec<u8>>())
    }

    /// A string with its terminating zero.
    pub fn text(self, text: &str) -> CLResult<()> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(&bytes)
    }

    /// Names with versions (`cl_name_version`): 4 bytes of version, 64 of name.
    pub fn versions(self, list: &[(&str, u32)]) -> CLResult<()> {
        let mut bytes = Vec::new();
        for (name, version) in list {
            bytes.extend(version.image());
            let mut field = [0; opencl_sys::CL_NAME_VERSION_MAX_NAME_SIZE];
            field[..name.len()].copy_from_slice(name.as_bytes());
            bytes.extend(field);
        }
        self.bytes(&bytes)
    }

    /// `CL_PROGRAM_BINARIES`: the value is a list of the caller's pointers, each with room for its binary.
    pub fn behind_pointers(self, blobs: &[Vec<u8>]) -> CLResult<()> {
        let size = blobs.len() * size_of::<*mut c_void>();
        if !self.value.is_null() {
            if self.size < size {
                return Err(CL_INVALID_VALUE);
            }
            self.value.write_behind(blobs);
        }
        self.size_ret.set(size);
        Ok(())
    }
}
