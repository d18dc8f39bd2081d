//! Releasing a driver's program, and making it again: from binaries where device and driver are the same, else as the program
//! did.

use opencl_sys::CL_INVALID_PROGRAM;

use super::build_info;
use super::compiler;
use super::driver_program::release;
use super::link::link;
use super::object::{Built, Origin, Program, Step};
use crate::CLResult;
use crate::core::handle::Object;
use runtime::mover;

impl Program {
    /// Before a move: keeps logs, status and (unless that was done before) binaries, and releases the driver's program.
    pub fn release_driver(&self) {
        self.building().without_arg_info = None;
        if let Some(replaced) = self.replaced.take() {
            release(replaced);
        }
        self.keep_binaries(mover::Program::Waits);
        let Some(real) = self.real.take() else { return };
        let adds_arg_info = self.adds_arg_info();
        let mut building = self.building();
        for device in &self.devices {
            // What was kept at an earlier move is what the program's own build said.
            let kept = building.outcomes.entry(device.slot().id());
            kept.or_insert_with(|| build_info::outcome(real, device, adds_arg_info));
        }
        building.is_substitute = false;
        drop(building);
        release(real);
    }

    /// Makes the driver's program again, unless that was done for another one that needs it.
    ///
    /// # Errors
    /// The driver's.
    pub fn recreate(&self) -> CLResult<()> {
        if !self.real.get().is_null() {
            return Ok(());
        }
        let (builds, failed, binaries) = {
            let building = self.building();
            let builds = building.builds.iter().cloned();
            let (builds, failed): (Vec<_>, Vec<_>) =
                builds.partition(|built| building.succeeded(built, std::ptr::null_mut()));
            (builds, failed, building.binaries.usable(&self.devices))
        };
        if !builds.is_empty()
            && let Some(binaries) = binaries
        {
            match self.recreate_from(&binaries, &builds) {
                Ok(()) => return Ok(()),
                Err(code) => log::info!(
                    "a program's binary was refused (error {code}): building it from source"
                ),
            }
        }
        self.recreate_from_origin(&builds, &failed)?;
        // The driver that is here now makes others.
        self.building().binaries.forget();
        Ok(())
    }

    fn recreate_from_origin(&self, builds: &[Built], failed: &[Built]) -> CLResult<()> {
        if matches!(self.origin, Origin::Linked) {
            self.recreate_headers()?;
            // It was made by one link.
            let built = builds.iter().chain(failed).next();
            return self.link_again(built.ok_or(CL_INVALID_PROGRAM)?, failed.is_empty());
        }
        let real = self.original()?;
        self.real.set(real);
        self.recreate_headers()?;
        self.build_again(real, builds.iter(), true)?;
        let constants = self.building().constants.clone();
        self.set_constants(real, &constants)
    }

    /// Makes the headers of its builds, and of what it was linked from: they may be younger than what includes them.
    fn recreate_headers(&self) -> CLResult<()> {
        let builds = self.building().builds.clone();
        builds.iter().try_for_each(|built| match &built.step {
            Step::Build { .. } => Ok(()),
            Step::Compile { headers, .. } => {
                let mut headers = headers.iter();
                headers.try_for_each(|(_, header)| header.recreate())
            }
            Step::Link { inputs, .. } => {
                let mut inputs = inputs.iter();
                inputs.try_for_each(|input| input.recreate_headers())
            }
        })
    }

    fn link_again(&self, built: &Built, succeeded: bool) -> CLResult<()> {
        let adds = built.adds_arg_info;
        let (real, made) = link(&self.context, &built.devices, &built.step, adds, false);
        self.real.set(real);
        // A link that had failed fails again.
        if succeeded { made.answer } else { Ok(()) }
    }

    fn recreate_from(&self, binaries: &[Vec<u8>], builds: &[Built]) -> CLResult<()> {
        let real = self.load(binaries)?;
        // Compiled objects and libraries are complete as loaded; executables need the build call.
        let rebuild = |built: &Built| {
            let options = match &built.step {
                Step::Compile { .. } => return Ok(()),
                Step::Build { options } => options.clone(),
                Step::Link { .. } => None,
            };
            compiler::run(real, false, &built.devices, &Step::Build { options }, false)
        };
        let answer = builds.iter().try_for_each(rebuild);
        match answer {
            Ok(()) => {
                self.real.set(real);
                self.building().is_substitute =
                    matches!(self.origin, Origin::Source(_) | Origin::Il(_));
            }
            Err(_) => release(real),
        }
        answer
    }
}
