//! Runs a program of `tests/programs/cuda` over the stub driver: plain, under the shadow, and while it is moved.
//!
//! With `XL_GPU_TEST_LIBCUDA=FILE` the driver is that one, on a real GPU, and what only the stub can do is left out.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::native::{self, Folder};

/// Seconds. Nothing takes that long, unless it hangs: seconds on an idle machine, a minute on one with ten other builds.
const AGES: &str = "300";

/// Where the sources are.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/programs/cuda")
}

/// The driver's library.
fn driver() -> PathBuf {
    real_driver().unwrap_or_else(|| native::built("libxl_gpu_stub_cuda.so"))
}

fn real_driver() -> Option<PathBuf> {
    env::var_os("XL_GPU_TEST_LIBCUDA").map(PathBuf::from)
}

/// A scratch folder with a compiled program, the driver as `libcuda.so.1` in `plain`, and device nodes in `nodes`.
pub struct Scratch {
    folder: Folder,
}

/// What is in the driver's place.
#[derive(Clone, Copy)]
pub enum Front<'a> {
    None,
    Shadow(&'a Folder),
}

impl Scratch {
    /// Compiles `NAME.c`.
    pub fn new(name: &str) -> Scratch {
        let scratch = Scratch {
            folder: Folder::new(&format!("cuda-{name}")),
        };
        let path = scratch.folder.path();
        for folder in ["empty", "plain", "nodes"] {
            fs::create_dir(path.join(folder)).unwrap();
        }
        for node in ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"] {
            fs::write(path.join("nodes").join(node), [0; 4096]).unwrap();
        }
        std::os::unix::fs::symlink(driver(), path.join("plain/libcuda.so.1")).unwrap();
        let built = Command::new(sources().join("build"))
            .args([name.as_ref(), path.join("program").as_os_str()])
            .status();
        assert!(built.expect("sh runs").success(), "{name}");
        scratch
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn nodes(&self) -> PathBuf {
        self.path().join("nodes")
    }

    /// A command that runs the program. `options` are the stub's.
    pub fn command(&self, front: Front<'_>, options: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", AGES]);
        command.arg(self.path().join("program"));
        for (name, _) in env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| name.starts_with("XL_GPU_"))
            {
                command.env_remove(name);
            }
        }
        let nodes = self.nodes();
        command
            .env(
                "XL_GPU_STUB_CUDA",
                format!("nodes={},{options}", nodes.display()),
            )
            .env("XL_GPU_DEVICE_NODES", nodes)
            // No OpenCL.
            .env("OCL_ICD_VENDORS", self.path().join("empty"));
        match front {
            Front::None => command.env("LD_LIBRARY_PATH", self.path().join("plain")),
            Front::Shadow(folder) => command
                .env("LD_LIBRARY_PATH", folder.path())
                .env("XL_GPU_REAL_LIBCUDA", driver()),
        };
        command
    }
}

/// The stress mode's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    pub moves: u64,
    pub blocked: u64,
    pub not_quiet: u64,
    pub failed: u64,
}

impl Moves {
    /// Of a report's file.
    pub fn read(file: &Path) -> Moves {
        let text = fs::read_to_string(file).unwrap_or_default();
        let number = |key: &str| {
            let (_, rest) = text.split_once(&format!("\"{key}\":"))?;
            rest.split([',', '}']).next()?.trim().parse().ok()
        };
        Moves {
            moves: number("moves").unwrap_or(0),
            blocked: number("blocked").unwrap_or(0),
            not_quiet: number("not_quiet").unwrap_or(0),
            failed: number("failed").unwrap_or(0),
        }
    }
}

/// A program and how it is run.
pub struct User {
    pub name: &'static str,
    pub arguments: &'static [&'static str],
    /// As `XL_GPU_STORM`.
    pub rates: &'static [&'static str],
    /// The stub's.
    pub options: &'static str,
    /// Whether each rate has to move it.
    pub moves: bool,
    /// Further variables.
    pub variables: Vec<(&'static str, String)>,
}

impl User {
    pub fn new(name: &'static str) -> User {
        User {
            name,
            arguments: &[],
            rates: &["calls=23"],
            options: "",
            moves: true,
            variables: Vec::new(),
        }
    }

    /// Plain, under the shadow, and moved: the same each time.
    pub fn runs(&self) {
        let scratch = Scratch::new(self.name);
        let shadow = native::stress_folder();
        let expected = self.output(&scratch, Front::None, None).0;
        assert!(!expected.is_empty(), "{}: it says nothing", self.name);
        let front = Front::Shadow(&shadow);
        assert_eq!(self.output(&scratch, front, None).0, expected, "not moved");
        for rate in self.rates {
            let (text, moves) = self.output(&scratch, front, Some(rate));
            assert_eq!(text, expected, "{rate}: {moves:?}");
            assert!(moves.moves > 0 || !self.moves, "{rate}: {moves:?}");
            assert_eq!(moves.failed, 0, "{rate}: {moves:?}");
        }
    }

    /// What it prints, and the moves. It must end well.
    pub fn output(
        &self,
        scratch: &Scratch,
        front: Front<'_>,
        rate: Option<&str>,
    ) -> (String, Moves) {
        let (output, moves) = self.ended(scratch, front, rate, self.options);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{} {rate:?}: {}: {text}{errors}",
            self.name,
            output.status
        );
        (text, moves)
    }

    /// How it ended.
    pub fn ended(
        &self,
        scratch: &Scratch,
        front: Front<'_>,
        rate: Option<&str>,
        options: &str,
    ) -> (Output, Moves) {
        let report = scratch.path().join("report");
        let _ = fs::remove_file(&report);
        let mut command = scratch.command(front, options);
        command.args(self.arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(rate) = rate {
            command.env("XL_GPU_STORM", rate);
            command.env("XL_GPU_STORM_REPORT", &report);
        }
        let output = command.output().expect("timeout(1) runs");
        (output, Moves::read(&report))
    }
}
