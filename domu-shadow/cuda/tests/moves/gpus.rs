//! Another GPU in the place of the one before.

use std::fs;
use std::path::{Path, PathBuf};

use crate::child::{Case, told};

const OLD: &str = "GPU-00000000-0000-0000-0000-000000000001";
const NEW: &str = "GPU-00000000-0000-0000-0000-000000000002";
const MODEL: &str = "NVIDIA H200";
/// Where the child finds what to exchange, and for what.
const FOLDER: &str = "XL_GPU_TEST_FOLDER";
const FIRST: &str = "XL_GPU_TEST_FIRST";

/// What driver and kernel say of the GPUs.
fn put(folder: &Path, uuid: &str, model: &str) {
    let gpu = folder.join("proc/gpus/0000:01:00.0");
    fs::create_dir_all(&gpu).unwrap();
    let text = format!("Model: \t\t {model}\nGPU UUID: \t {uuid}\nDevice Minor: \t 0\n");
    fs::write(gpu.join("information"), text).unwrap();
    fs::write(folder.join("uuids"), format!("{uuid} {model}\n")).unwrap();
}

fn case(first: &str) -> Case {
    let case = Case::new("another_gpu");
    let folder = case.path().to_owned();
    put(&folder, OLD, MODEL);
    let uuids = format!("uuids={}", folder.join("uuids").display());
    case.with_nodes(1)
        .options(uuids)
        .variable("XL_GPU_NVIDIA_PROC", folder.join("proc"))
        .variable(FOLDER, folder)
        .variable(FIRST, first.into())
}

fn folder() -> PathBuf {
    std::env::var_os(FOLDER).unwrap().into()
}

/// In the child: there is another GPU now.
pub fn exchange() {
    put(&folder(), NEW, &std::env::var(FIRST).unwrap());
}

/// In the child: the one that was waited for.
pub fn bring_the_right_one() {
    put(&folder(), NEW, MODEL);
}

pub fn another_takes_the_place() {
    let output = case(MODEL).run();
    assert!(output.status.success(), "{}", told(&output));
    assert!(
        !told(&output).contains("no CUDA device"),
        "{}",
        told(&output)
    );
}

pub fn another_model_is_refused() {
    let output = case("NVIDIA A100").run();
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("no CUDA device here can take the place of \"NVIDIA H200"),
        "{told}"
    );
    assert!(told.contains("NVIDIA A100"), "{told}");
}
