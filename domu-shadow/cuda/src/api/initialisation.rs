//! The first call of every program.

use std::ffi::c_uint;

use crate::core::entry::{check, own};
use crate::driver::functions::driver;

own! {
    /// The session starts once there is a driver that works.
    fn cuInit(flags: c_uint) driver {
        check(unsafe { driver().cuInit(flags) })?;
        runtime::session::start();
        Ok(())
    }
}
