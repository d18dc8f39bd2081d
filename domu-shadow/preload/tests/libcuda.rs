//! The ways in which programs find CUDA lead to the shadow library, and its calls to the driver's (`cuda/tests/driver.c`).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

mod common;

use common::native::{built, library};

/// The `libcuda.so.1` that leads to the shadow library.
fn small_libcuda() -> PathBuf {
    built("libxl_gpu_libcuda.so")
}

struct Files(PathBuf);

impl Files {
    /// `driver/libcuda.so.1`; `ours/` as it is installed; the programs `linked` and `opens`.
    fn new(name: &str) -> Files {
        let folder = format!("xl-gpu-libcuda-{}-{name}", std::process::id());
        let files = Files(std::env::temp_dir().join(folder));
        for folder in ["driver", "ours"] {
            fs::create_dir_all(files.at(folder)).unwrap();
        }
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cc = |options: &[&str], source: &str, to: &str| {
            let compiled = Command::new("cc")
                .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
                .arg(files.at(to))
                .arg(tests.join(source))
                .args(options)
                .status();
            assert!(compiled.unwrap().success(), "{source}");
        };
        let driver = files.at("driver/libcuda.so.1");
        cc(
            &["-shared", "-fPIC", "-Wl,-Bsymbolic,-soname,libcuda.so.1"],
            "../cuda/tests/driver.c",
            "driver/libcuda.so.1",
        );
        let user = "tests/programs/libcuda/user.c";
        cc(
            &["-DLINKED", driver.to_str().unwrap(), "-ldl", "-lpthread"],
            user,
            "linked",
        );
        cc(&["-ldl", "-lpthread"], user, "opens");
        symlink(library(), files.at("ours/libOpenCL.so.1")).unwrap();
        symlink(small_libcuda(), files.at("ours/libcuda.so.1")).unwrap();
        symlink("libcuda.so.1", files.at("ours/libcuda.so")).unwrap();
        files
    }

    fn at(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    fn command(&self, program: &str, library_path: &[&str]) -> Command {
        let folders = library_path.iter().map(|folder| self.at(folder));
        let mut command = Command::new(self.at(program));
        command.env("LD_LIBRARY_PATH", std::env::join_paths(folders).unwrap());
        // Warnings are of no matter here.
        command.env("XL_GPU_LOG", "error");
        command
    }

    fn preload(&self) -> String {
        let ours = ["ours/libOpenCL.so.1", "ours/libcuda.so.1"];
        ours.map(|file| self.at(file).display().to_string())
            .join(":")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text == "ok\n" && errors.is_empty(),
        "{command:?}: {text}{errors}"
    );
}

#[test]
fn programs_find_it_and_it_finds_the_driver() {
    let files = Files::new("finds");
    succeeds(&mut files.command("linked", &["ours", "driver"]));
    succeeds(
        files
            .command("linked", &["driver"])
            .env("LD_PRELOAD", files.preload()),
    );
    for name in ["libcuda.so.1", "libcuda.so"] {
        succeeds(files.command("opens", &["ours", "driver"]).arg(name));
    }
    let preloaded = &mut files.command("opens", &["driver"]);
    succeeds(
        preloaded
            .arg("libcuda.so.1")
            .env("LD_PRELOAD", files.preload()),
    );
}

/// Copies of ours are none of NVIDIA's, whatever they are called.
#[test]
fn takes_no_copy_of_itself_for_the_driver() {
    let files = Files::new("copies");
    for (folder, of) in [("first", library()), ("second", small_libcuda())] {
        fs::create_dir(files.at(folder)).unwrap();
        fs::copy(of, files.at(folder).join("libcuda.so.1")).unwrap();
    }
    let path = ["ours", "first", "second", "driver"];
    succeeds(files.command("opens", &path).arg("libcuda.so.1"));
    let told = &mut files.command("opens", &["ours"]);
    told.env("XL_GPU_REAL_LIBCUDA", files.at("driver/libcuda.so.1"));
    succeeds(told.arg("libcuda.so.1"));
}

/// Where there is no driver a program that looks for CUDA hears that there is no device, and nothing else.
#[test]
fn without_a_driver_there_is_no_device() {
    let files = Files::new("none");
    let program = "
import ctypes
cuda = ctypes.CDLL('libcuda.so.1')
name, number = ctypes.c_char_p(), ctypes.c_int()
assert cuda.cuInit(0) == 100
assert cuda.cuDriverGetVersion(ctypes.byref(number)) == 100
assert cuda.cuDeviceGetCount(ctypes.byref(number)) == 100
assert cuda.cuGetErrorName(100, ctypes.byref(name)) == 0 and name.value == b'CUDA_ERROR_NO_DEVICE'
assert cuda.cuGetErrorString(1, ctypes.byref(name)) == 1 and name.value is None
print('ok')";
    let mut python = Command::new("python3");
    python
        .args(["-c", program])
        .env("LD_LIBRARY_PATH", files.at("ours"))
        .env("XL_GPU_REAL_LIBCUDA", files.at("ours/libcuda.so.1"))
        .env("XL_GPU_LOG", "error");
    succeeds(&mut python);
}
