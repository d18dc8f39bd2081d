//! What a device has free.

use crate::core::entry::own;
use crate::core::{retired, room};
use crate::driver::functions::driver;
use crate::driver::vm::check;

own! {
    /// What we have of the device counts as free, since the program gets it when it asks.
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) driver {
        retired::free();
        check(unsafe { driver().cuMemGetInfo_v2(free, total) })?;
        let mut device = 0;
        check(unsafe { driver().cuCtxGetDevice(&raw mut device) })?;
        if !free.is_null() {
            unsafe { *free += room::ours(device) };
        }
        Ok(())
    }
}
