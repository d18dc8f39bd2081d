//! What the driver holds against its caller, and the file it writes that to.
//!
//! A line of the report: process id, number of the load, kind, text; separated by tabs. Kinds: `load`, `violation`,
//! `leak`, `unload`.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Mutex;

use crate::lock::lock;
use crate::{call, loads, options};

static VIOLATIONS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Records that the caller broke a rule of OpenCL or of unloading.
pub fn violation(text: impl AsRef<str>) {
    let text = match call::current() {
        "" => text.as_ref().to_owned(),
        function => format!("{function}: {}", text.as_ref()),
    };
    line("violation", &text);
    lock(&VIOLATIONS).push(text);
}

/// All violations of this load so far.
pub fn violations() -> Vec<String> {
    lock(&VIOLATIONS).clone()
}

/// Forgets the violations.
pub fn clear() {
    lock(&VIOLATIONS).clear();
}

/// Appends a line to the report file, if there is one. One write, so that processes may share the file.
pub fn line(kind: &str, text: &str) {
    let options = options::in_force();
    let Some(path) = &options.report else { return };
    let line = format!(
        "{}\t{}\t{kind}\t{}\n",
        std::process::id(),
        loads::number(),
        text.replace('\n', " ")
    );
    if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path) {
        // The report is for a test that will miss the line; there is nobody else to tell.
        let _ = file.write_all(line.as_bytes());
    }
}
