//! The first call of every program.

use std::ffi::c_uint;

use runtime::vendor::cuda;

use crate::core::entry::{check, own};
use crate::driver::functions::driver;

own! {
    /// The session starts once there is a driver that works.
    fn cuInit(flags: c_uint) driver {
        cuda::front_initialises();
        check(unsafe { driver().cuInit(flags) })?;
        cuda::front_initialised();
        runtime::session::start();
        Ok(())
    }
}
