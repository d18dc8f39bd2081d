//! Links the library with its name, and with the need for a library that has the shadow's.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // Only its name counts. With the folder in it, another library of the name that is there already is not taken for it.
    let name = "-Wl,-soname,$ORIGIN/libOpenCL.so.1";
    let (source, shadow) = (out.join("shadow.c"), out.join("libOpenCL.so.1"));
    std::fs::write(&source, "").expect("OUT_DIR can be written");
    let linked = Command::new("cc")
        .args(["-shared", "-nostdlib", name, "-o"])
        .args([&shadow, &source])
        .status()
        .expect("cc runs");
    assert!(linked.success(), "cc does not link {}", shadow.display());
    println!("cargo:rerun-if-changed=build.rs");
    for argument in [
        "-Wl,-soname,libcuda.so.1",
        // Closed and opened again by name, the linker might find the vendor's.
        "-Wl,-z,nodelete",
        // Without functions there is nothing to debug.
        "-Wl,--strip-all",
        "-Wl,--push-state,--no-as-needed",
        &shadow.to_string_lossy(),
        "-Wl,--pop-state",
    ] {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
}
