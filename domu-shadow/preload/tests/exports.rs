//! The shared library that `cargo build` makes: its name, its symbols, its version nodes, what it needs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

mod common;

use common::native::{library, stress_library};

const DEBIANS: &str = "/usr/lib/x86_64-linux-gnu/libOpenCL.so.1";

fn readelf(option: &str, library: &Path) -> String {
    let output = Command::new("readelf")
        .args(["-W", option])
        .arg(library)
        .output()
        .expect("readelf runs");
    assert!(
        output.status.success(),
        "readelf {option} {}",
        library.display()
    );
    String::from_utf8(output.stdout).expect("readelf prints text")
}

/// Defined dynamic symbols, as `name@@node`.
fn symbols(library: &Path) -> BTreeSet<String> {
    let table = readelf("--dyn-syms", library);
    let defined = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    defined
        .filter(|columns| {
            columns.len() >= 8 && !["UND", "Ndx"].contains(&columns[6]) && columns[3] != "OBJECT"
        })
        .map(|columns| columns[7].to_owned())
        .collect()
}

fn of_opencl(library: &Path) -> BTreeSet<String> {
    let mut symbols = symbols(library);
    symbols.retain(|name| name.starts_with("cl"));
    symbols
}

#[test]
fn exports_every_symbol_with_its_node() {
    let listed: BTreeSet<String> = stress::exports::EXPORTS
        .iter()
        .map(|(name, node)| format!("{name}@@{node}"))
        .collect();
    assert_eq!(listed.len(), 134);
    assert_eq!(of_opencl(&library()), listed);
}

#[test]
fn exports_every_function_of_cuda_without_a_version_and_nothing_else() {
    let listed = stress::exports::CUDA.iter();
    let listed: BTreeSet<_> = listed
        .map(|function| function.name.to_str().unwrap().to_owned())
        .collect();
    assert!(listed.len() > 700);
    for library in [library(), stress_library()] {
        let opencls = of_opencl(&library);
        let others: BTreeSet<_> = &symbols(&library) - &opencls;
        let wrong: Vec<_> = others.symmetric_difference(&listed).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", library.display());
    }
}

#[test]
fn has_all_that_debians_loader_has() {
    let debians = Path::new(DEBIANS);
    assert!(
        debians.exists(),
        "{DEBIANS} (package ocl-icd-libopencl1) is needed for this test"
    );
    let ours = of_opencl(&library());
    let missing: Vec<_> = of_opencl(debians)
        .into_iter()
        .filter(|symbol| !ours.contains(symbol))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn has_the_loaders_name_and_needs_no_loader() {
    let dynamic = readelf("--dynamic", &library());
    assert!(
        dynamic.contains("Library soname: [libOpenCL.so.1]"),
        "{dynamic}"
    );
    assert!(!dynamic.contains("Shared library: [libOpenCL"), "{dynamic}");
}

/// Threads and exit handlers of the library's outlive a program that closes it.
#[test]
fn is_never_unloaded() {
    let dynamic = readelf("--dynamic", &library());
    let flags = dynamic.lines().find(|line| line.contains("(FLAGS_1)"));
    assert!(flags.is_some_and(|f| f.contains("NODELETE")), "{dynamic}");
}

/// What moves a program by itself is for tests only.
#[test]
fn a_product_has_no_stress() {
    let has = |library: PathBuf| {
        let content = std::fs::read(library).unwrap();
        content.windows(12).any(|bytes| bytes == b"XL_GPU_STORM")
    };
    assert!(!has(library()) && has(stress_library()));
}
