//! Builds the stand-ins for Xen's libraries and for `libxl-save-helper` with the system's C compiler, and runs the
//! helper with and without the plugin.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plugin");

/// A version of Xen's libraries, built.
#[derive(Debug, Clone)]
pub struct Xen {
    directory: PathBuf,
}

/// What one run of the helper left.
#[derive(Debug)]
pub struct Outcome {
    /// Everything the helper, the libraries and the plugin said.
    pub text: String,
}

impl Outcome {
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.text.contains(text), "no {text:?} in:\n{}", self.text);
        self
    }

    #[track_caller]
    pub fn says_not(&self, text: &str) -> &Self {
        assert!(!self.text.contains(text), "{text:?} in:\n{}", self.text);
        self
    }

    /// Lines without the messages of the plugin.
    pub fn without_plugin_lines(&self) -> Vec<&str> {
        self.text
            .lines()
            .filter(|l| !l.contains("xl-gpu"))
            .collect()
    }
}

impl Xen {
    /// Xen `4.minor`.
    pub fn version(minor: u32) -> Self {
        Self::build(minor, "")
    }

    /// Xen 4.17 with a libxenguest that reads the stream in other pieces.
    pub fn with_odd_reads() -> Self {
        Self::build(17, "ODD_READS")
    }

    /// Xen 4.22 with a libxenguest that writes the stream as the one in development does.
    pub fn with_joined_writes() -> Self {
        Self::build(22, "JOINED_WRITES")
    }

    fn build(minor: u32, variant: &str) -> Self {
        static BUILDING: Mutex<()> = Mutex::new(());
        let name = format!("xen-4.{minor}-{variant}");
        let directory = scratch().join(name);
        let _one_at_a_time = BUILDING.lock().unwrap_or_else(|e| e.into_inner());
        if !directory.join("helper").exists() {
            std::fs::create_dir_all(&directory).unwrap();
            let (ctrl, guest) = (
                format!("libxenctrl.so.4.{minor}"),
                format!("libxenguest.so.4.{minor}"),
            );
            let defines = [
                format!("-DXEN_MINOR={minor}"),
                format!("-DVARIANT_{variant}"),
            ];
            let library = |source: &str, soname: &str, against: &[&str]| {
                let soname_option = format!("-Wl,-soname,{soname}");
                cc(
                    &directory,
                    &defines,
                    &[&["-shared", "-fPIC", &soname_option], against].concat(),
                    source,
                    soname,
                );
            };
            library("libxenctrl.c", &ctrl, &[]);
            let ctrl_option = format!("-l:{ctrl}");
            library("libxenguest.c", &guest, &[&ctrl_option]);
            library(
                "libxenforeignmemory.c",
                "libxenforeignmemory.so.1",
                &[&ctrl_option],
            );
            let against = [
                format!("-l:{guest}"),
                format!("-l:{ctrl}"),
                "-Wl,-rpath,$ORIGIN".into(),
            ];
            cc(
                &directory,
                &defines,
                &against.each_ref().map(String::as_str),
                "helper.c",
                "helper",
            );
        }
        Self { directory }
    }

    /// The helper, without the plugin.
    pub fn stock(&self) -> Run {
        let mut command = Command::new(self.directory.join("helper"));
        command.env("LD_LIBRARY_PATH", &self.directory);
        command
            .env("XENSTORED_PATH", "/nonexistent/xenstored")
            .env("XL_GPU_SOCKET", "/nonexistent/gpud");
        Run(command)
    }

    /// The helper with the plugin.
    pub fn with_plugin(&self) -> Run {
        let mut run = self.stock();
        run.0.env("LD_PRELOAD", plugin());
        run
    }
}

/// One run to be: add what is there besides.
#[derive(Debug)]
pub struct Run(Command);

impl Run {
    pub fn daemon(mut self, socket: &Path) -> Self {
        self.0.env("XL_GPU_SOCKET", socket);
        self
    }

    pub fn xenstore(mut self, socket: &Path) -> Self {
        self.0.env("XENSTORED_PATH", socket);
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// Saves domain 5 live into a file; gives the stream.
    pub fn save(self) -> (Outcome, Vec<u8>) {
        self.save_as("1", "0")
    }

    /// Saves domain 5 with these flags and this stream type.
    pub fn save_as(self, flags: &str, stream_type: &str) -> (Outcome, Vec<u8>) {
        let path = scratch_file();
        let outcome = finish(self.start_save(flags, stream_type, File::create(&path).unwrap()));
        let stream = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        (outcome, stream)
    }

    pub fn start_save(mut self, flags: &str, stream_type: &str, stream: impl Into<Stdio>) -> Child {
        self.0
            .args(["save", "5", flags, stream_type])
            .stdout(stream);
        self.0.stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Restores domain 7 from these bytes.
    pub fn restore(self, stream: &[u8]) -> Outcome {
        self.restore_as(stream, "0")
    }

    pub fn restore_as(mut self, stream: &[u8], stream_type: &str) -> Outcome {
        let path = scratch_file();
        std::fs::write(&path, stream).unwrap();
        self.0
            .args(["restore", "7", "0", stream_type])
            .stdin(File::open(&path).unwrap());
        let outcome = finish(self.0.stderr(Stdio::piped()).spawn().unwrap());
        std::fs::remove_file(&path).unwrap();
        outcome
    }
}

/// Waits for a started helper, which must end by itself: it exits with 0 even if the save or restore failed.
pub fn finish(mut child: Child) -> Outcome {
    let mut bytes = Vec::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}:\n{text}");
    Outcome { text }
}

/// A folder for this run of the tests.
pub fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("plugin-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    })
}

/// A path in it that nobody else has.
pub fn scratch_file() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    scratch().join(NEXT.fetch_add(1, Ordering::Relaxed).to_string())
}

/// The library under test. Cargo builds it for this program into this program's own folder; the one a folder above
/// is whatever `cargo build` left there last.
pub fn plugin() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let path = program.with_file_name("libxl_gpu_plugin.so");
    assert!(path.exists(), "{} is not built", path.display());
    path
}

fn cc(directory: &Path, defines: &[String], options: &[&str], source: &str, output: &str) {
    let status = Command::new("cc")
        .args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-L."])
        .args(defines)
        .arg(Path::new(SOURCES).join(source))
        .args(["-o", output])
        .args(options)
        .current_dir(directory)
        .status()
        .expect("a C compiler named cc");
    assert!(status.success(), "{source} does not compile");
}
