//! A program without the argument info that only we asked for. The program sees its binaries, and what it tells of its
//! kernels' arguments. It is made when the program asks, or when a link needs it.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::CL_INVALID_PROGRAM;

use super::binaries;
use super::compiler::link_with;
use super::driver_program::DriverProgram;
use super::object::{Program, Step};
use crate::CLResult;

/// Whether any of these has argument info behind the program's back.
pub(super) fn any_adds_arg_info(programs: &[Arc<Program>]) -> bool {
    programs.iter().any(|program| program.adds_arg_info())
}

/// Those made once more that have argument info behind the program's back; `None` where none has.
///
/// # Errors
/// The driver's.
pub(super) fn of_each(programs: &[Arc<Program>]) -> CLResult<Option<Vec<Option<DriverProgram>>>> {
    if !any_adds_arg_info(programs) {
        return Ok(None);
    }
    let plain = programs.iter().map(|program| of(program));
    plain.collect::<CLResult<_>>().map(Some)
}

/// The driver's programs, with what was made once more instead of the original.
pub(super) fn replaced(
    programs: &[Arc<Program>],
    plain: &[Option<DriverProgram>],
) -> Vec<*mut c_void> {
    let pairs = programs.iter().zip(plain);
    let real = |(program, plain): (&Arc<Program>, &Option<DriverProgram>)| {
        plain.as_ref().map_or(program.real.get(), |plain| plain.0)
    };
    pairs.map(real).collect()
}

/// A program made once more as it was asked for; `None` where the driver's is just that.
fn of(program: &Program) -> CLResult<Option<DriverProgram>> {
    if !program.adds_arg_info() {
        return Ok(None);
    }
    let Some(link) = program.made_by_link() else {
        return built(program).map(Some);
    };
    let Step::Link { options, inputs } = &link.step else {
        return Ok(None);
    };
    if !program.is_as_linked(&link.step) {
        return Ok(None); // another build of its inputs is not what is in it
    }
    let Some(plain) = of_each(inputs)? else {
        return Ok(None);
    };
    let parts = replaced(inputs, &plain);
    let (context, options, none) = (&program.context, options.as_ref(), std::ptr::null_mut());
    let (real, answer) = link_with(context, &link.devices, options, &parts, None, none);
    let made = (!real.is_null()).then(|| DriverProgram(real));
    answer.map(|()| made)
}

fn built(program: &Program) -> CLResult<DriverProgram> {
    let plain = DriverProgram(program.original()?);
    let builds = program.building().builds.clone();
    let mut answer = Err(CL_INVALID_PROGRAM);
    for one in &builds {
        // One for devices for which it fails leaves the others.
        answer = answer.or(program.build_again(plain.0, std::iter::once(one), false));
    }
    answer.map(|()| plain)
}

impl Program {
    /// Calls `ask` with the driver's program that the program may know.
    pub fn without_arg_info<T>(&self, ask: impl FnOnce(*mut c_void) -> T) -> T {
        if self.building().without_arg_info.is_none() {
            let made = of(self).unwrap_or_else(|code| {
                log::info!("a program is not made without argument info: error {code}");
                None
            });
            self.building().without_arg_info = made;
        }
        let building = self.building();
        let plain = building.without_arg_info.as_ref();
        ask(plain.map_or(self.real.get(), |plain| plain.0))
    }

    /// `CL_PROGRAM_BINARY_SIZES`. The binaries are kept until the program has made room for them: after a move they may be
    /// larger, and pocl crashes if it was not asked for the sizes first.
    ///
    /// # Errors
    /// The driver's.
    pub fn binary_sizes(&self) -> CLResult<Vec<usize>> {
        // No build may come between sizes and binaries.
        let _one = self.at_driver();
        let (sizes, told) = self.without_arg_info(|real| {
            let sizes = binaries::sizes(real)?;
            let is_whole = !sizes.contains(&0);
            let told = is_whole
                .then(|| binaries::blobs(real, &sizes).ok())
                .flatten();
            CLResult::Ok((sizes, told.map(Arc::new)))
        })?;
        self.building().sized_binaries = told;
        Ok(sizes)
    }

    /// The binaries of those sizes.
    pub fn sized_binaries(&self) -> Option<Arc<Vec<Vec<u8>>>> {
        self.building().sized_binaries.clone()
    }
}
