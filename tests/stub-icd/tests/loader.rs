//! Through the system's ordinary ICD loader: its dispatch table is laid out by somebody else.

mod support;

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::process::Command;

use libloading::os::unix::{Library, RTLD_NOW};
use support::Stub;
use support::process::{in_child, library_path};

/// Functions that the loader does not dispatch by a handle in the first argument, or not to the driver at all.
const OTHERWISE: [&str; 7] = [
    "clGetPlatformIDs",
    "clCreateContext",
    "clCreateContextFromType",
    "clWaitForEvents",
    "clUnloadCompiler",
    "clGetExtensionFunctionAddress",
    "clGetExtensionFunctionAddressForPlatform",
];
/// Functions that have nothing to check, so that the stub does not count them.
const UNCOUNTED: [&str; 2] = ["clSVMAlloc", "clSVMFree"];

#[test]
fn every_entry_stands_where_the_loader_looks() {
    if std::env::var_os("XL_GPU_STUB_TEST").is_none() {
        // SAFETY: nothing else runs in this test binary that reads or writes the environment meanwhile.
        unsafe { std::env::set_var("OCL_ICD_VENDORS", library_path()) };
    }
    in_child("every_entry_stands_where_the_loader_looks", "", || {
        // The table's own names: the stub accepts options for its entry points only.
        let stub = Stub::load();
        // SAFETY: the loader's initialisers; it opens the stub, by OCL_ICD_VENDORS.
        let loader = unsafe { Library::open(Some("libOpenCL.so.1"), RTLD_NOW) }.unwrap();
        type GetPlatforms = unsafe extern "C" fn(u32, *mut *mut c_void, *mut u32) -> i32;
        let mut platform = std::ptr::null_mut();
        // SAFETY: room for one platform.
        let code = unsafe {
            (loader.get::<GetPlatforms>(b"clGetPlatformIDs\0").unwrap())(
                1,
                &raw mut platform,
                std::ptr::null_mut(),
            )
        };
        assert_eq!((code, platform), (0, stub.platform));
        let names = entry_points(&stub);
        assert!(names.len() > 100, "{names:?}");
        for name in names
            .iter()
            .filter(|name| !OTHERWISE.contains(&name.as_str()))
        {
            stub.configure("");
            call_with_zeros(&loader, name, platform);
            let counted: Vec<_> = stub
                .state()
                .into_iter()
                .filter(|line| line.starts_with("calls "))
                .collect();
            let expected = if UNCOUNTED.contains(&name.as_str()) {
                vec![]
            } else {
                vec![format!("calls {name} 1")]
            };
            assert_eq!(counted, expected);
        }
    });
}

/// Names of the stub's entry points: those for which a rule is accepted, out of the loader's symbols.
fn entry_points(stub: &Stub) -> BTreeSet<String> {
    let symbols = include_str!("loader-symbols.txt");
    symbols
        .lines()
        .filter(|name| stub.configure(&format!("slow={name}:0ms")) == 0)
        .map(str::to_owned)
        .collect()
}

/// Calls the loader's function with the platform, which is an object of the wrong kind, and zeros.
fn call_with_zeros(loader: &Library, name: &str, platform: *mut c_void) {
    type Z = usize;
    type Function =
        unsafe extern "C" fn(*mut c_void, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z, Z) -> Z;
    // SAFETY: by the C calling convention of x86-64 and AArch64 unused arguments are harmless, and the stub refuses the
    // first argument before it looks at the others, which are zero or null.
    unsafe {
        let function = loader
            .get::<Function>(format!("{name}\0").as_bytes())
            .unwrap();
        function(platform, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    }
}

#[test]
fn clinfo_knows_the_device() {
    let output = Command::new("clinfo")
        .env("OCL_ICD_VENDORS", library_path())
        .env("XL_GPU_STUB", "name=GPU of the test,memory=256M")
        .output()
        .expect("clinfo is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let value = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(name))
            .unwrap_or_else(|| panic!("{text}"));
        line.trim_start().trim_start_matches(name).trim().to_owned()
    };
    assert_eq!(value("Platform Name"), "xl-gpu stub");
    assert_eq!(value("Device Name"), "GPU of the test");
    assert_eq!(value("Global memory size"), "268435456 (256MiB)");
    assert_eq!(value("Device Version"), "OpenCL 3.0 xl-gpu stub");
    // clinfo makes a kernel by macros, which the toy compiler does not know; nothing else may fail.
    let failed: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("error -"))
        .collect();
    assert!(
        failed.len() == 1 && failed[0].contains("create kernel"),
        "{failed:?}"
    );
}
