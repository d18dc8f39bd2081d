//! The process of a test: the library beside it, a child for options of its own, what it holds.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

/// The stub library that cargo built beside this test.
pub fn library_path() -> PathBuf {
    let test = env::current_exe().unwrap();
    let path = test.parent().unwrap().join("libxl_gpu_stub_icd.so");
    assert!(path.exists(), "{} is not built", path.display());
    path
}

/// Runs `body` in a process of its own with `XL_GPU_STUB` set: options are read once, and unloading is for a process
/// that does nothing else. `test` is the calling test's name.
pub fn in_child(test: &str, options: &str, body: impl FnOnce()) {
    if env::var("XL_GPU_STUB_TEST").as_deref() == Ok(test) {
        body();
        return;
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("XL_GPU_STUB_TEST", test)
        .env("XL_GPU_STUB", options)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

/// A file of this process in the folder for temporary files, removed at the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        Scratch(env::temp_dir().join(format!("xl-gpu-stub-test-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Paths of this process's open files and of its mappings.
pub fn open_files() -> Vec<String> {
    let files = fs::read_dir("/proc/self/fd").unwrap();
    files
        .filter_map(|file| fs::read_link(file.unwrap().path()).ok())
        .map(|path| path.display().to_string())
        .collect()
}

pub fn mappings() -> Vec<String> {
    fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

pub fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}
