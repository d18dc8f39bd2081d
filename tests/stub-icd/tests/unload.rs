//! Leaving the process, and not leaving it: what NVIDIA's driver does, and worse.

#[macro_use]
mod support;

use std::fs;
use std::path::Path;

use opencl_sys::*;
use support::Stub;
use support::process::{Scratch, in_child, mappings, open_files, threads};

/// Uses everything that could keep the library: queue workers, callbacks, builds, errors.
fn work(stub: &Stub) {
    let context = stub.context();
    let queue = stub.queue(context, 0);
    let buffer = stub.buffer(context, 1 << 20);
    let kernel = stub.kernel(
        context,
        "kernel void fill_seq(global uint *out) {}",
        "fill_seq",
    );
    assert_eq!(
        (
            stub.set(kernel, 0, &buffer),
            stub.launch(queue, kernel, 1 << 10)
        ),
        (0, 0)
    );
    assert_eq!(stub.read(queue, buffer, 3), [0, 1, 2]);
    let program = stub.program(context, "kernel void nothing() {}");
    assert_eq!(stub.build(program, ""), CL_BUILD_PROGRAM_FAILURE);
    assert_eq!(0, cl!(program, clReleaseProgram(program)));
    assert_eq!(0, cl!(kernel, clReleaseKernel(kernel)));
    assert_eq!(0, cl!(buffer, clReleaseMemObject(buffer)));
    assert_eq!(0, cl!(queue, clReleaseCommandQueue(queue)));
    assert_eq!(0, cl!(context, clReleaseContext(context)));
    assert_eq!((stub.violations(), stub.held().len()), (Vec::new(), 0));
}

fn is_mapped() -> bool {
    mappings()
        .iter()
        .any(|line| line.ends_with("libxl_gpu_stub_icd.so"))
}

fn files_of(path: &str) -> usize {
    open_files()
        .iter()
        .filter(|file| file.contains(path))
        .count()
}

fn mappings_of(path: &str) -> usize {
    mappings().iter().filter(|line| line.contains(path)).count()
}

#[test]
fn leaves_nothing_when_not_told_to() {
    in_child("leaves_nothing_when_not_told_to", "", || {
        let before = (threads(), open_files().len());
        for _ in 0..50 {
            let stub = Stub::load();
            assert!(is_mapped());
            work(&stub);
            stub.unload();
            assert!(!is_mapped());
            assert_eq!((threads(), open_files().len()), before);
        }
    });
}

#[test]
fn leaves_device_files_and_mappings_as_nvidia_does() {
    in_child(
        "leaves_device_files_and_mappings_as_nvidia_does",
        "nvidia",
        || {
            for round in 1..=3 {
                let stub = Stub::load();
                work(&stub);
                stub.unload();
                assert!(!is_mapped());
                let name = "xl-gpu-stub-device";
                assert_eq!((files_of(name), mappings_of(name)), (7 * round, 3 * round));
            }
        },
    );
}

#[test]
fn the_device_node_has_a_path() {
    let node = Scratch::new("node");
    fs::write(&node.0, [0; 4096]).unwrap();
    let options = format!("leak_fds=2,leak_maps=1,device={}", node.0.display());
    in_child("the_device_node_has_a_path", &options, || {
        let stub = Stub::load();
        work(&stub);
        stub.unload();
        let options = std::env::var("XL_GPU_STUB").unwrap();
        let path = options.rsplit('=').next().unwrap();
        assert!(Path::new(path).exists());
        assert_eq!((files_of(path), mappings_of(path)), (2, 1));
    });
}

#[test]
fn no_platform_without_the_device_node() {
    in_child(
        "no_platform_without_the_device_node",
        "device=/nonexistent/node,leak_fds=1",
        || {
            assert_eq!(Stub::try_load().err(), Some(-1001));
        },
    );
}

#[test]
fn no_platform_with_a_wrong_option() {
    in_child("no_platform_with_a_wrong_option", "leak_fd=7", || {
        assert_eq!(Stub::try_load().err(), Some(-1001));
    });
}

#[test]
fn a_file_closed_under_the_driver_is_found() {
    in_child("a_file_closed_under_the_driver_is_found", "nvidia", || {
        let stub = Stub::load();
        let is_device = |number: &i32| {
            let path = fs::read_link(format!("/proc/self/fd/{number}"));
            path.is_ok_and(|path| path.display().to_string().contains("xl-gpu-stub-device"))
        };
        let number = (3..64).find(is_device).unwrap();
        assert_eq!(stub.violations(), [""; 0]);
        // SAFETY: a descriptor of the stub, which never uses it.
        drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(number) });
        assert_eq!(
            stub.violations(),
            [format!(
                "device file descriptor {number} was closed under the loaded driver"
            )]
        );
    });
}

#[test]
fn another_device_answers_after_a_reload() {
    let options = "name_after_reload=Other GPU,driver_after_reload=2.0";
    in_child("another_device_answers_after_a_reload", options, || {
        let binary_of = |stub: &Stub| {
            let context = stub.context();
            let program = stub.program(context, "kernel void fill_seq(global uint *out) {}");
            assert_eq!(stub.build(program, ""), 0);
            let (mut size, null) = (0_usize, std::ptr::null_mut());
            let at = (&raw mut size).cast();
            assert_eq!(
                0,
                cl!(
                    program,
                    clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, 8, at, null)
                )
            );
            let mut binary = vec![0_u8; size];
            let mut pointer = binary.as_mut_ptr();
            let at = (&raw mut pointer).cast();
            assert_eq!(
                0,
                cl!(
                    program,
                    clGetProgramInfo(program, CL_PROGRAM_BINARIES, 8, at, null)
                )
            );
            assert_eq!(
                (0, 0),
                (
                    cl!(program, clReleaseProgram(program)),
                    cl!(context, clReleaseContext(context))
                )
            );
            binary
        };
        let load_binary = |stub: &Stub, binary: &[u8]| {
            let context = stub.context();
            let (size, mut pointer, mut status) = (binary.len(), binary.as_ptr(), 0);
            let device = &raw const stub.device;
            let (sizes, pointers) = (&raw const size, &raw mut pointer);
            let made = make!(
                context,
                clCreateProgramWithBinary(context, 1, device, sizes, pointers, &raw mut status)
            );
            (made, status)
        };
        let stub = Stub::load();
        assert_eq!(stub.device_text(CL_DEVICE_NAME), "xl-gpu stub GPU");
        let binary = binary_of(&stub);
        let (program, status) = load_binary(&stub, &binary);
        let program = program.unwrap();
        assert_eq!((status, stub.build(program, "-cl-kernel-arg-info")), (0, 0));
        let kernel = make!(program, clCreateKernel(program, c"fill_seq".as_ptr())).unwrap();
        let (mut qualifier, null) = (0_u64, std::ptr::null_mut());
        let at = (&raw mut qualifier).cast();
        let code = cl!(
            kernel,
            clGetKernelArgInfo(kernel, 0, CL_KERNEL_ARG_TYPE_QUALIFIER, 8, at, null)
        );
        assert_eq!(code, CL_KERNEL_ARG_INFO_NOT_AVAILABLE, "a binary has none");
        stub.unload();
        let stub = Stub::load();
        assert_eq!(stub.device_text(CL_DEVICE_NAME), "Other GPU");
        assert_eq!(stub.device_text(CL_DRIVER_VERSION), "2.0");
        assert_eq!(
            load_binary(&stub, &binary),
            (Err(CL_INVALID_BINARY), CL_INVALID_BINARY)
        );
        let _ = fs::remove_file(stub_count_file());
    });
}

/// The count of loads that the stub keeps for this process.
fn stub_count_file() -> std::path::PathBuf {
    let prefix = format!("xl-gpu-stub-{}-", std::process::id());
    let files = fs::read_dir(std::env::temp_dir())
        .unwrap()
        .filter_map(Result::ok)
        .map(|file| file.path());
    files
        .into_iter()
        .find(|path| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(&prefix))
        })
        .unwrap()
}

#[test]
fn a_library_that_stays_is_still_mapped() {
    in_child(
        "a_library_that_stays_is_still_mapped",
        "stay_mapped",
        || {
            let stub = Stub::load();
            let before = threads();
            work(&stub);
            stub.unload();
            assert!(is_mapped());
            let stub = Stub::load();
            work(&stub);
            // A worker that was told to end may still be on its way.
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
            while threads() > before + 1 {
                assert!(
                    std::time::Instant::now() < deadline,
                    "{} threads",
                    threads()
                );
                std::thread::yield_now();
            }
        },
    );
}

#[test]
fn a_lingering_thread_lives_on() {
    in_child("a_lingering_thread_lives_on", "linger_thread", || {
        let before = threads();
        let stub = Stub::load();
        stub.unload();
        assert!(is_mapped());
        assert_eq!(threads(), before + 1);
    });
}
