//! Programs of many kinds, built in many ways through the plain ICD loader and through the shadow, moved again and again:
//! the same answers, logs, binaries, kernels and results.
//!
//! `programs/builds.c` has them, `tests/builds/run` compares; a third of them here, all with `scripts/test --long`, which
//! also runs them without a move. Needs Python, a C compiler, OpenCL's headers, an ICD loader and a driver.

mod common;

use std::path::Path;
use std::process::Command;

use common::native;

#[test]
fn programs_build_as_through_a_plain_loader() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/builds/run");
    let output = Command::new(script)
        .args(["--few", "--storm", "calls=150", "--shadow"])
        .arg(native::stress_library())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}{errors}");
}
