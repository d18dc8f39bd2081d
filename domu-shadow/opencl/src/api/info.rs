//! The size and NULL protocol of every `clGet*Info`, once.

use std::ffi::c_void;

use opencl_sys::CL_INVALID_VALUE;

use crate::CLResult;
use crate::core::Caller;
use crate::driver::query::Ask;

/// Where an info query's answer goes: `param_value_size`, `param_value`, `param_value_size_ret`.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    pub caller: &'a Caller,
    pub size: usize,
    pub value: *mut c_void,
    pub size_ret: *mut usize,
}

impl Answer<'_> {
    /// Gives the driver's own answer.
    ///
    /// # Errors
    /// The driver's.
    pub fn driver(&self, ask: Ask<'_>) -> CLResult<()> {
        ask(self.size, self.value, self.size_ret)
    }

    /// Gives bytes.
    ///
    /// # Errors
    /// `CL_INVALID_VALUE` if there is room, but not enough.
    pub fn bytes(&self, bytes: &[u8]) -> CLResult<()> {
        if !self.value.is_null() {
            if self.size < bytes.len() {
                return Err(CL_INVALID_VALUE);
            }
            self.caller.give_list(self.value.cast::<u8>(), bytes);
        }
        self.caller.give(self.size_ret, bytes.len());
        Ok(())
    }

    /// Gives text with its terminating zero.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub fn text(&self, text: &[u8]) -> CLResult<()> {
        let mut bytes = text.to_vec();
        bytes.push(0);
        self.bytes(&bytes)
    }

    /// Gives a `cl_uint` or `cl_int`.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub fn uint(&self, value: u32) -> CLResult<()> {
        self.bytes(&value.to_ne_bytes())
    }

    /// Gives a `cl_ulong`, bit field, `size_t` or address.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub fn long(&self, value: u64) -> CLResult<()> {
        self.bytes(&value.to_ne_bytes())
    }

    /// Gives a handle or pointer.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub fn handle(&self, handle: *mut c_void) -> CLResult<()> {
        self.bytes(&(handle as usize).to_ne_bytes())
    }

    /// Gives several handles.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub fn handles(&self, handles: impl IntoIterator<Item = *mut c_void>) -> CLResult<()> {
        let bytes: Vec<u8> = handles
            .into_iter()
            .flat_map(|handle| (handle as usize).to_ne_bytes())
            .collect();
        self.bytes(&bytes)
    }

    /// Gives a property list; nothing where the program passed NULL.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub fn longs(&self, list: Option<impl IntoIterator<Item = u64>>) -> CLResult<()> {
        let bytes: Vec<u8> = list
            .into_iter()
            .flatten()
            .flat_map(u64::to_ne_bytes)
            .collect();
        self.bytes(&bytes)
    }
}
