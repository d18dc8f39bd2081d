//! A driver that opens a library of its vendor by name gets that, and not ours of the same name.

use std::ffi::c_void;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use runtime::vendor::fronts;

use crate::rig::{Counter, in_child_as};

const NAME: &str = "libcuda.so.1";

/// Builds a library of this name in a folder of its own: it counts how often it is asked for its version.
fn build(folder: &str) -> PathBuf {
    // The child's folder has colons in its name, which separate folders.
    let name = format!("xl-gpu-siblings-{}-{folder}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    fs::create_dir(&folder).unwrap();
    let (code, library) = (folder.join("cuda.c"), folder.join(NAME));
    let source =
        "int asked; int cuDriverGetVersion(int *version) { *version = 12080; asked++; return 0; }
        int cuDeviceGetCount(int *count) { *count = 0; return 3; }";
    fs::write(&code, source).unwrap();
    let compiled = Command::new("cc")
        .args([
            "-shared",
            "-fPIC",
            "-Wl,-Bsymbolic",
            "-Wl,-soname,libcuda.so.1",
            "-o",
        ])
        .args([&library, &code])
        .status();
    assert!(compiled.unwrap().success());
    library
}

/// The library of this file, where it is mapped.
fn mapped(file: &Path) -> Option<Library> {
    // SAFETY: with RTLD_NOLOAD no code of it runs.
    unsafe { Library::open(Some(file), RTLD_NOW | libc::RTLD_NOLOAD) }.ok()
}

fn asked(library: &Library) -> i32 {
    // SAFETY: the variable's type.
    unsafe { **library.get::<*const i32>(b"asked\0").unwrap() }
}

#[test]
fn a_driver_opens_its_own_by_name_although_ours_has_the_name() {
    let test = "siblings::a_driver_opens_its_own_by_name_although_ours_has_the_name";
    let options = "nvidia,opens=libcuda.so.1";
    in_child_as(test, Some("libnvidia-opencl.so.1"), options, || {
        let (front, real) = (build("front"), build("real"));
        let folders = [&front, &real].map(|library| library.parent().unwrap().to_owned());
        let path = std::env::join_paths(&folders).unwrap();
        // SAFETY: nobody else uses the environment yet; the library has no initialisers, and of its function only the address counts.
        let (ours, address) = unsafe {
            std::env::set_var("LD_LIBRARY_PATH", path);
            let ours = Library::open(Some(&front), RTLD_NOW | RTLD_GLOBAL).unwrap();
            let address = *ours.get::<*const c_void>(b"cuDriverGetVersion\0").unwrap();
            (ours, address)
        };
        fronts::register(c"libcuda.so.1", address).unwrap();
        let mut counter = Counter::new();
        let its = mapped(&real).expect("the driver has not opened its own");
        assert_eq!((asked(&its), asked(&ours)), (3, 0));
        drop(its);
        counter.check();
        for _ in 0..2 {
            let (detached, store) = counter.detach();
            assert!(mapped(&real).is_none(), "the driver's is not closed");
            assert!(mapped(&front).is_some(), "ours is closed");
            counter.attach(detached, &store);
            let its = mapped(&real).expect("the driver has not opened its own again");
            assert_eq!((asked(&its), asked(&ours)), (3, 0));
            drop(its);
            counter.check();
        }
        folders
            .iter()
            .for_each(|folder| fs::remove_dir_all(folder).unwrap());
    });
}
