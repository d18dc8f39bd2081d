//! Xen's commands, with a limit: a toolstack that hangs is a finding, and not the end.

use std::io;
use std::process::{Command, Stdio};

const SECONDS: &str = "10";

/// What `program` prints.
///
/// # Errors
/// Where it cannot be run, fails, or takes too long (coreutils' `timeout`: status 124).
pub fn output(program: &str, arguments: &[&str]) -> io::Result<String> {
    let ran = Command::new("timeout")
        .arg(SECONDS)
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    match ran.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&ran.stdout).into_owned()),
        Some(124) => Err(io::Error::other(format!("no answer within {SECONDS} s"))),
        _ => {
            let said = String::from_utf8_lossy(&ran.stderr);
            let last = said.lines().last().unwrap_or("it failed");
            Err(io::Error::other(last.trim().to_owned()))
        }
    }
}
