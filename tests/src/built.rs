//! Where the built parts are: beside the test itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Folder of this profile's build products; everything is built when it is first asked for.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let test = std::env::current_exe().expect("the test's own path");
        let deps = test.parent().expect("a folder");
        let folder = deps.parent().expect("the profile's folder").to_owned();
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--quiet",
            "-p",
            "xl-gpud",
            "-p",
            "xl-gpu",
            "-p",
            "xl-gpu-shadow",
            "-p",
            "xl-gpu-libcuda",
            "-p",
            "xl-gpu-stub-cuda",
            "-p",
            "xl-gpu-stub-icd",
        ]);
        build
            .arg("--target-dir")
            .arg(folder.parent().expect("the target folder"));
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let built = build.status().expect("cargo runs");
        assert!(built.success(), "the workspace does not build");
        folder
    })
}

/// A binary.
pub fn binary(name: &str) -> PathBuf {
    folder().join(name)
}

/// The shadow library under the names by which programs know it, in `folder`.
pub fn shadow(into: &Path) -> PathBuf {
    let link = |library: &str, name: &str| {
        let link = into.join(name);
        std::os::unix::fs::symlink(folder().join(library), &link)
            .expect("a link to the shadow library");
        link
    };
    link("libxl_gpu_libcuda.so", "libcuda.so.1");
    link("libxl_gpu_shadow.so", "libOpenCL.so.1")
}

/// One of `tests/programs`, compiled in `folder` against the system's OpenCL loader.
pub fn program(name: &str, into: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("programs/{name}.c"));
    let binary = into.join(name);
    let compiled = Command::new("cc")
        .args(["-O2", "-Wall", "-o"])
        .arg(&binary)
        .arg(source)
        .arg("-lOpenCL")
        .status()
        .expect("a C compiler");
    assert!(compiled.success(), "{name}.c does not compile");
    binary
}

/// One of `tests/programs/cuda`, compiled in `folder`.
pub fn cuda_program(name: &str, into: &Path) -> PathBuf {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/cuda/build");
    let binary = into.join(format!("cuda-{name}"));
    let built = Command::new(build).arg(name).arg(&binary).status();
    assert!(
        built.expect("sh runs").success(),
        "{name}.c does not compile"
    );
    binary
}
