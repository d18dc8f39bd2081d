//! Gives the shared library the name and the symbol version nodes of the ICD loader that it replaces.
//!
//! rustc's own version script names every exported Rust symbol. The entry points are not among those:
//! `src/exports.rs` defines them with `.symver`, and `exports.map` only declares the nodes. This needs LLD,
//! which rustc uses by default on x86-64 Linux; GNU ld refuses two version scripts.

use std::env;
use std::path::PathBuf;

fn main() {
    let folder =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    // Also of the crate `stress`, which has the same names.
    let map = folder.join("../preload/exports.map");
    println!("cargo:rerun-if-changed={}", map.display());
    println!(
        "cargo:rustc-cdylib-link-arg=-Wl,--version-script={}",
        map.display()
    );
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libOpenCL.so.1");
    // A program that opens and closes it must not take the code from under our threads and exit handlers.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // What it calls by name is its own, whatever else the process has loaded.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    // A constructor of another preloaded library may call us, and the APIs are registered by ours: it comes first.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,initfirst");
}
