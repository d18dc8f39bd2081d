//! Programs that use an extension, through the plain ICD loader and through the shadow, there without moves and with a move at
//! every few calls: the same answers and contents.
//!
//! Needs a C compiler, OpenCL's headers, an ICD loader, and pocl.

mod common;

use std::process::Command;

use common::native::{self, Folder, Program};

/// A program over one driver.
struct Trial {
    program: Program,
    shadow: Folder,
    arguments: &'static [&'static str],
    /// Of the stub driver; `None`: the installed driver.
    stub: Option<&'static str>,
}

impl Trial {
    fn new(source: &str, stub: Option<&'static str>) -> Trial {
        Trial {
            program: native::compile(source),
            shadow: native::stress_folder(),
            arguments: &[],
            stub,
        }
    }

    fn command(&self, shadow: Option<&Folder>) -> Command {
        let mut command = native::command(self.program.path(), shadow);
        command.args(self.arguments);
        if let Some(options) = self.stub {
            let library = native::library().with_file_name("libxl_gpu_stub_icd.so");
            command.env("OCL_ICD_VENDORS", library);
            let beside = |name| self.program.path().with_extension(name);
            let (loads, report) = (beside("loads"), beside("stub"));
            let fixed = format!("loads={},report={}", loads.display(), report.display());
            command.env("XL_GPU_STUB", format!("{options},{fixed}"));
        }
        command
    }

    fn lines(mut command: Command) -> Vec<String> {
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {errors}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    /// The lines that a plain loader's and the shadow's run have in common: all.
    fn plain_and_shadow(&self) -> Vec<String> {
        let plain = Trial::lines(self.command(None));
        assert!(plain.len() > 3, "{plain:?}");
        same(&plain, &Trial::lines(self.command(Some(&self.shadow))));
        self.check_stub();
        plain
    }

    /// The stub saw nothing wrong.
    fn check_stub(&self) {
        if self.stub.is_some() {
            let report = std::fs::read_to_string(self.program.path().with_extension("stub"));
            let report = report.unwrap();
            let wrong = report.lines().find(|line| {
                let kind = line.split('\t').nth(2);
                // The exit may come before the marker behind a released queue.
                let is_marker = line.ends_with("unloaded with 1 commands not done");
                kind == Some("violation") && !is_marker
            });
            assert_eq!(wrong, None);
        }
    }

    /// The same with a move at every `calls`th call; the storm's report.
    fn storm(&self, plain: &[String], calls: u32) -> String {
        let mut command = self.command(Some(&self.shadow));
        let report = self.program.path().with_extension("report");
        command.env("XL_GPU_STORM", format!("calls={calls}"));
        command.env("XL_GPU_STORM_REPORT", &report);
        same(plain, &Trial::lines(command));
        self.check_stub();
        std::fs::read_to_string(report).unwrap()
    }
}

fn same(plain: &[String], other: &[String]) {
    let both = plain.iter().zip(other);
    let differing: Vec<_> = both.filter(|(plain, other)| plain != other).collect();
    assert!(differing.is_empty(), "{differing:#?}");
    assert_eq!(plain.len(), other.len());
}

/// A figure of the storm's report.
fn figure(report: &str, name: &str) -> u64 {
    let (_, rest) = report.split_once(&format!("\"{name}\":")).unwrap();
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
    rest[..digits].parse().unwrap()
}

/// While a command buffer waits for a user event, moves are put off.
fn moved_only(report: &str) {
    assert!(figure(report, "moves") > 20, "{report}");
    for other in ["blocked", "failed"] {
        assert_eq!(figure(report, other), 0, "{report}");
    }
}

/// The stub has a late version, whose functions take properties, and other synchronization points at each load.
#[test]
fn command_buffers_move() {
    let trial = Trial::new("command_buffers.c", Some("extension=cl_khr_command_buffer"));
    let plain = trial.plain_and_shadow();
    for calls in [2, 3, 7] {
        moved_only(&trial.storm(&plain, calls));
    }
}

/// pocl has an early version, whose functions take none.
#[test]
fn early_command_buffers_move() {
    let mut trial = Trial::new("command_buffers.c", None);
    trial.arguments = &["images"];
    let plain = trial.plain_and_shadow();
    for calls in [3, 7] {
        moved_only(&trial.storm(&plain, calls));
    }
}

/// What belongs to the driver works as with a plain loader, and keeps the program where it is for as long as it is there.
fn keeps_the_program(part: &'static [&'static str], extensions: &'static str) {
    let mut trial = Trial::new("sharing.c", Some(extensions));
    trial.arguments = part;
    let plain = trial.plain_and_shadow();
    let report = trial.storm(&plain, 3);
    assert!(figure(&report, "blocked") > 0, "{report}");
    assert_eq!(figure(&report, "failed"), 0, "{report}");
}

#[test]
fn unified_shared_memory_works() {
    keeps_the_program(&["unified"], "extension=cl_intel_unified_shared_memory");
}

#[test]
fn device_addresses_work() {
    keeps_the_program(&["addresses"], "extension=cl_ext_buffer_device_address");
}

#[test]
fn semaphores_work() {
    keeps_the_program(
        &["semaphores"],
        "extension=cl_khr_semaphore,extension=cl_khr_external_semaphore,\
         extension=cl_khr_external_semaphore_opaque_fd",
    );
}

#[test]
fn external_memory_works() {
    keeps_the_program(
        &["memory"],
        "extension=cl_khr_external_memory,extension=cl_khr_external_memory_opaque_fd",
    );
}

/// The cautious hide what would keep a program; it then sees a driver without.
#[test]
fn what_blocks_can_be_hidden() {
    let options = "extension=cl_khr_semaphore,extension=cl_khr_command_buffer";
    let trial = Trial::new("sharing.c", Some(options));
    let extensions = |hidden: &str| {
        let mut command = trial.command(Some(&trial.shadow));
        command.env("XL_GPU_MOVABLE_ONLY", hidden);
        Trial::lines(command).remove(0)
    };
    assert!(extensions("0").contains("cl_khr_semaphore"));
    assert!(extensions("0").contains("cl_khr_command_buffer"));
    assert!(!extensions("1").contains("cl_khr_semaphore"));
    assert!(extensions("1").contains("cl_khr_command_buffer"));
    let mut command = trial.command(Some(&trial.shadow));
    command.env("XL_GPU_MOVABLE_ONLY", "1").arg("semaphores");
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        errors.contains("no clCreateSemaphoreWithPropertiesKHR"),
        "{errors}"
    );
}
