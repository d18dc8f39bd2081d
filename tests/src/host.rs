//! A loopback host: `xl-gpud`, `xl-gpu`, and programs whose OpenCL goes through the shadow library.

use crate::built;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The stub ICD's file name.
pub const STUB_ICD: &str = "libxl_gpu_stub_icd.so";

fn stub_icd() -> PathBuf {
    built::folder().join(STUB_ICD)
}

/// Longer than anything takes unless it hangs, on a slow machine.
const AGES: Duration = Duration::from_secs(180);

/// Waits for something that must come.
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + AGES;
    while !is_so() {
        assert!(Instant::now() < end, "it did not happen that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder of its own with a daemon in it; all of it goes with this value.
pub struct Host {
    folder: PathBuf,
    daemon: Option<Child>,
}

impl Host {
    /// Starts a daemon.
    pub fn start() -> Host {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("xl-gpu-e2e-{}-{n}", std::process::id()));
        std::fs::create_dir_all(folder.join("disk")).expect("a folder");
        let config = format!("spool_dir = {:?}\n", folder.join("disk"));
        std::fs::write(folder.join("xl-gpu.conf"), config).expect("a configuration");
        let mut host = Host {
            folder,
            daemon: None,
        };
        host.start_daemon();
        host
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the daemon (again).
    pub fn start_daemon(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("xl-gpud.log"))
            .expect("a log");
        let daemon = Command::new(built::binary("xl-gpud"))
            .env_remove("XL_GPU_SOCKET")
            .arg("--run-dir")
            .arg(&self.folder)
            .arg("--config")
            .arg(self.folder.join("xl-gpu.conf"))
            .arg("--loopback")
            .arg(self.folder.join("programs"))
            .stderr(log)
            .spawn()
            .expect("xl-gpud starts");
        self.daemon = Some(daemon);
        eventually("xl-gpud answers", || self.xl_gpu(&["status"]).is_ok());
    }

    /// Kills the daemon, as the kernel might.
    pub fn kill_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().expect("xl-gpud can be killed");
            daemon.wait().expect("xl-gpud has ended");
        }
    }

    /// Runs the command line; its output, or what it complains about.
    pub fn xl_gpu(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(built::binary("xl-gpu"))
            .arg("--socket")
            .arg(self.folder.join("gpud.sock"))
            .args(arguments)
            .output()
            .expect("xl-gpu runs");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// The one domain's status; null where it has nothing to show.
    pub fn status(&self) -> Value {
        let shown = self.xl_gpu(&["status", "--json"]).expect("a status");
        let mut status: Value = serde_json::from_str(&shown).expect("JSON");
        let domain = status["domains"].get_mut(0);
        domain.map(Value::take).unwrap_or_default()
    }

    /// Sessions that are announced in this state.
    pub fn sessions(&self, state: &str) -> usize {
        let status = self.status();
        let sessions = status["sessions"].as_array().cloned().unwrap_or_default();
        sessions.iter().filter(|s| s["state"] == state).count()
    }

    /// Starts a compiled program under the shadow library; `name` tells it from others.
    pub fn run(&self, binary: &Path, name: &str, arguments: &[&str]) -> Program {
        let mut command = Command::new(binary);
        command.args(arguments);
        self.launch(command, name)
    }

    /// The same over the stub ICD, which is the only driver.
    pub fn run_opencl(&self, binary: &Path, name: &str, arguments: &[&str]) -> Program {
        let mut command = Command::new(binary);
        command.args(arguments).env("OCL_ICD_VENDORS", stub_icd());
        self.launch(command, name)
    }

    /// The same with a CUDA program over the stub driver, which is told `options`. The OpenCL driver is the stub ICD.
    pub fn run_cuda(
        &self,
        binary: &Path,
        name: &str,
        arguments: &[&str],
        options: &str,
    ) -> Program {
        let nodes = self.nodes();
        if !nodes.exists() {
            std::fs::create_dir(&nodes).expect("a folder");
            for node in ["nvidia0", "nvidiactl", "nvidia-uvm"] {
                std::fs::write(nodes.join(node), [0; 4096]).expect("a device node");
            }
        }
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .env(
                "XL_GPU_REAL_LIBCUDA",
                built::folder().join("libxl_gpu_stub_cuda.so"),
            )
            .env(
                "XL_GPU_STUB_CUDA",
                format!("nodes={},{options}", nodes.display()),
            )
            .env("XL_GPU_DEVICE_NODES", &nodes)
            .env("OCL_ICD_VENDORS", stub_icd())
            .env("LD_LIBRARY_PATH", &self.folder);
        self.launch(command, name)
    }

    /// What stands for the stub's device nodes.
    pub fn nodes(&self) -> PathBuf {
        self.folder.join("nodes")
    }

    fn launch(&self, mut command: Command, name: &str) -> Program {
        let shadow = self.folder.join("libOpenCL.so.1");
        if !shadow.exists() {
            built::shadow(&self.folder);
        }
        let output = self.folder.join(format!("{name}.log"));
        let log = File::create(&output).expect("a log");
        let child = command
            .env("LD_PRELOAD", &shadow)
            .env("XL_GPU_LOOPBACK", self.folder.join("programs"))
            .stderr(log.try_clone().expect("a descriptor"))
            .stdout(log)
            .spawn()
            .expect("the program starts");
        Program { child, output }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill_daemon();
        if std::thread::panicking() {
            eprintln!("logs stay in {}", self.folder.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// A running program.
pub struct Program {
    child: Child,
    output: PathBuf,
}

impl Program {
    /// What it has printed so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits until it has printed `text`.
    pub fn await_output(&self, text: &str) {
        eventually(text, || self.output().contains(text));
    }

    /// Number of the last step it told of.
    pub fn step(&self) -> u64 {
        let output = self.output();
        let steps = output.lines().rev().filter_map(|l| l.strip_prefix("step "));
        let number = steps
            .filter_map(|l| l.split(' ').next()?.parse().ok())
            .next();
        number.unwrap_or(0)
    }

    /// How many files below `folder` it has open.
    pub fn device_files(&self, folder: &Path) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs");
        let paths = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        paths.filter(|path| path.starts_with(folder)).count()
    }

    /// Whether a file of this name is mapped into it.
    pub fn maps(&self, name: &str) -> bool {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.child.id()));
        let maps = maps.expect("it runs");
        maps.lines().any(|line| line.ends_with(&format!("/{name}")))
    }

    /// Asks it to come to an end, and takes its own verdict.
    pub fn finish(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends");
        self.output()
    }

    /// Kills it without a word.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}
