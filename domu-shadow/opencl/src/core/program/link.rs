//! Linking programs.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::CL_INVALID_PROGRAM;

use super::build_callback;
use super::compiler::{Made, link_with};
use super::driver_program::release;
use super::object::Step;
use super::without_arg_info;
use crate::core::context::Context;
use crate::core::device::Device;

/// Links with the driver. The program may be there after a failure too, with its log; null if it is not.
///
/// NVIDIA's linker (CUDA 13.0) refuses inputs with argument info if one of their kernels has no arguments. If only we asked
/// for that info, the link is tried again with inputs compiled without it. `add_arg_info` is false for a link that was made
/// so before.
pub fn link(
    context: &Context,
    devices: &[Arc<Device>],
    step: &Step,
    add_arg_info: bool,
    is_notified: bool,
) -> (*mut c_void, Made) {
    let refused = |answer| Made {
        answer,
        adds_arg_info: false,
    };
    let Step::Link { options, inputs } = step else {
        return (std::ptr::null_mut(), refused(Err(CL_INVALID_PROGRAM)));
    };
    let link_of = |programs: &[_], is_notified| {
        build_callback::call(is_notified, |notify, user| {
            link_with(context, devices, options.as_ref(), programs, notify, user)
        })
    };
    let as_made: Vec<_> = inputs.iter().map(|program| program.real.get()).collect();
    let adds = add_arg_info && without_arg_info::any_adds_arg_info(inputs);
    if adds {
        let (linked, answer) = link_of(&as_made, false);
        if answer.is_ok() {
            let made = Made {
                answer,
                adds_arg_info: true,
            };
            return (linked, made);
        }
        if !linked.is_null() {
            release(linked);
        }
    }
    let plain = without_arg_info::of_each(inputs).ok().flatten();
    let given = plain
        .as_ref()
        .map(|plain| without_arg_info::replaced(inputs, plain));
    let (linked, answer) = link_of(&given.unwrap_or(as_made), is_notified);
    (linked, refused(answer))
}
