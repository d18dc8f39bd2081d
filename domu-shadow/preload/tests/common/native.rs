//! Programs that link `libOpenCL.so.1`: run with the plain ICD loader, or with the shadow in its place.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What cargo built beside this test.
pub fn built(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test has a path");
    let folder = test.parent().expect("a test lies in a folder");
    let library = folder.join(name);
    if library.exists() {
        library
    } else {
        folder.with_file_name(name)
    }
}

/// The shared library that cargo built beside this test.
pub fn library() -> PathBuf {
    built("libxl_gpu_shadow.so")
}

/// The same for tests: it can move the program by itself.
pub fn stress_library() -> PathBuf {
    built("libxl_gpu_shadow_stress.so")
}

/// A folder of its own, removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("xl-gpu-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A compiled program.
pub struct Program {
    folder: Folder,
}

impl Program {
    pub fn path(&self) -> PathBuf {
        self.folder.0.join("program")
    }
}

/// Compiles `tests/programs/NAME` and links it with the system's loader.
pub fn compile(name: &str) -> Program {
    compile_with(name, &[])
}

/// The same as a shared library.
pub fn compile_library(name: &str) -> Program {
    compile_with(name, &["-shared", "-fPIC", "-Wl,--as-needed"])
}

fn compile_with(name: &str, options: &[&str]) -> Program {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(name);
    let program = Program {
        folder: Folder::new(&name.replace('/', "-")),
    };
    let compiled = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"])
        .args(options)
        .arg("-o")
        .arg(program.path())
        .arg(source)
        .args(["-lOpenCL", "-ldl", "-lpthread"])
        .status()
        .expect("cc runs");
    assert!(compiled.success(), "{name}");
    program
}

/// A command with the shadow as `libOpenCL.so.1`, or with the system's loader.
pub fn command(program: impl AsRef<Path>, shadow: Option<&Folder>) -> Command {
    let mut command = Command::new(program.as_ref());
    if let Some(folder) = shadow {
        command.env("LD_LIBRARY_PATH", &folder.0);
    }
    command
}

/// A folder in which the shadow has the loader's name.
pub fn library_folder() -> Folder {
    folder_of(&library())
}

/// A folder in which the shadow for tests has the loader's name.
pub fn stress_folder() -> Folder {
    folder_of(&stress_library())
}

fn folder_of(library: &Path) -> Folder {
    let folder = Folder::new("library");
    let link = folder.0.join("libOpenCL.so.1");
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(library, link).unwrap();
    // CUDA's name, which leads to it.
    let libcuda = built("libxl_gpu_libcuda.so");
    if libcuda.exists() {
        std::os::unix::fs::symlink(libcuda, folder.0.join("libcuda.so.1")).unwrap();
    }
    folder
}
