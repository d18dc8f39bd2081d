//! One case in a process of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Which function of `scenarios` to run.
pub const CASE: &str = "XL_GPU_TEST_CASE";

/// A folder of its own, removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("xl-gpu-cuda-moves-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("nodes")).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A scenario, and the driver that it meets.
pub struct Case {
    name: &'static str,
    options: Vec<String>,
    variables: Vec<(&'static str, PathBuf)>,
    folder: Folder,
}

impl Case {
    pub fn new(name: &'static str) -> Case {
        Case {
            name,
            options: Vec::new(),
            variables: Vec::new(),
            folder: Folder::new(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.folder.0
    }

    /// The stub's.
    pub fn options(mut self, options: impl Into<String>) -> Case {
        self.options.push(options.into());
        self
    }

    pub fn variable(mut self, name: &'static str, value: PathBuf) -> Case {
        self.variables.push((name, value));
        self
    }

    /// With device nodes for so many GPUs.
    pub fn with_nodes(self, gpus: usize) -> Case {
        let nodes = self.path().join("nodes");
        let names = (0..gpus).map(|gpu| format!("nvidia{gpu}"));
        for name in names.chain(["nvidiactl".to_owned()]) {
            fs::write(nodes.join(name), [0; 4096]).unwrap();
        }
        let option = format!("nodes={}", nodes.display());
        self.options(option).variable("XL_GPU_DEVICE_NODES", nodes)
    }

    pub fn run(&self) -> Output {
        let test = std::env::current_exe().unwrap();
        let driver = test.with_file_name("libxl_gpu_stub_cuda.so");
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "60"]).arg(test);
        command.args(["--exact", "case", "--ignored", "--nocapture"]);
        command
            .env(CASE, self.name)
            .env("XL_GPU_STUB_CUDA", self.options.join(","))
            .env("XL_GPU_REAL_LIBCUDA", driver)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.output().expect("timeout(1) runs")
    }

    pub fn passes(&self) {
        let output = self.run();
        assert!(output.status.success(), "{}", told(&output));
    }
}

/// What it said.
pub fn told(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{}: {out}{error}", output.status)
}
