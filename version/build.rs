//! Finds out what is being built.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=XL_GPU_BUILD");
    let told = std::env::var("XL_GPU_BUILD").ok().filter(|b| !b.is_empty());
    let build = told.or_else(|| match std::env::var("PROFILE").as_deref() {
        Ok("release") => commit(),
        _ => Some("debug".to_owned()),
    });
    let version = env!("CARGO_PKG_VERSION");
    match build {
        Some(build) => println!("cargo:rustc-env=XL_GPU_VERSION={version} ({build})"),
        None => println!("cargo:rustc-env=XL_GPU_VERSION={version}"),
    }
}

/// The commit that is checked out; none in an unpacked tarball.
fn commit() -> Option<String> {
    // Grows with each commit and checkout. A path that is not there would have this run each time.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
