//! A program's binaries and builds: fetched before the stop, linked, one for each device, and made again.

use std::ffi::{CStr, CString};
use std::ptr::{null, null_mut};
use std::time::Duration;

use runtime::mover;

use crate::common::moving::there_and_back;
use crate::common::*;
use crate::programs::{COUNT_BY, build, group_size, il, specialize};
use crate::rig::{Stub, in_child};

/// A driver may compile for a binary. The stop asks for those alone of what was built since they were fetched, and what a
/// program was before it was built again does not come back.
#[test]
fn binaries_are_fetched_before_the_stop() {
    let test = "binaries::binaries_are_fetched_before_the_stop";
    in_child(test, "stay_mapped", || {
        let gpu = Gpu::new();
        let module = il();
        let of_module = || {
            make!(clCreateProgramWithIL(
                gpu.context,
                module.as_ptr().cast(),
                module.len()
            ))
        };
        let asked = || Stub::calls()("clGetProgramInfo");
        let programs = [of_module(), of_module(), of_module()];
        let [kept, again, late] = programs;
        for program in [kept, again] {
            assert_eq!(specialize(program, 7, 8), CL_SUCCESS);
            build(program);
        }
        let mut capture = mover::begin().unwrap();
        let before = asked();
        capture.prepare(|| false);
        assert_eq!(asked(), before, "called off");
        capture.prepare(|| true);
        let for_two = asked() - before;
        assert!(for_two > 0);
        capture.prepare(|| true);
        assert_eq!(asked(), before + for_two);
        for program in [again, late] {
            assert_eq!(specialize(program, 7, 16), CL_SUCCESS);
            build(program);
        }
        let before = asked();
        let quiesced = capture.quiesce(Duration::from_secs(60));
        let quiesced = quiesced.map_err(|(_, e)| e).unwrap();
        let detached = quiesced.unload().map_err(|(_, e)| e).unwrap();
        assert_eq!(asked() - before, for_two);
        let (arriving, _) = detached.reload().map_err(|(_, e)| e).unwrap();
        arriving.finish();
        assert_eq!(Stub::calls()("clCreateProgramWithBinary"), 3);
        let sizes = programs.map(|program| group_size(&gpu, program));
        assert_eq!(sizes, [8, 16, 16]);
        // The next move finds all as it left them.
        there_and_back(0);
        assert_eq!(Stub::calls()("clCreateProgramWithBinary"), 6);
        let sizes = programs.map(|program| group_size(&gpu, program));
        assert_eq!(sizes, [8, 16, 16]);
        for program in programs {
            ok!(clReleaseProgram(program));
        }
    });
}

/// What was compiled with argument info behind the program's back links where the driver refuses that, as NVIDIA's does.
#[test]
fn programs_link_without_our_argument_info() {
    let test = "binaries::programs_link_without_our_argument_info";
    in_child(test, "nvidia,link_refuses_arg_info", || {
        let gpu = Gpu::new();
        let compiled = |source: &str, options: &CStr| {
            let program = gpu.program(source);
            ok!(clCompileProgram(
                program,
                0,
                null(),
                options.as_ptr(),
                0,
                null(),
                null_mut(),
                None,
                null_mut()
            ));
            program
        };
        let link = |options: &CStr, inputs: &[Handle]| {
            let mut code = CL_SUCCESS;
            let linked = call!(clLinkProgram(
                gpu.context,
                0,
                null(),
                options.as_ptr(),
                inputs.len() as u32,
                inputs.as_ptr(),
                None,
                null_mut(),
                &raw mut code
            ));
            (linked, code)
        };
        let first = compiled(COUNT_BY, c"");
        let second = compiled("kernel void fill_seq(global uint *out) {}", c"");
        let (library, code) = link(c"-create-library", &[second]);
        assert_eq!(code, CL_SUCCESS);
        let (linked, code) = link(c"", &[first, library]);
        assert_eq!(code, CL_SUCCESS);
        let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64 * 4);
        let fill = make!(clCreateKernel(linked, c"fill_seq".as_ptr()));
        set(fill, 0, &buffer);
        gpu.run(fill, 64);
        let increase = make!(clCreateKernel(linked, c"increase".as_ptr()));
        set(increase, 0, &buffer);
        set(increase, 1, &100_u32);
        for times in 1..4_u32 {
            gpu.run(increase, 64);
            assert_eq!(gpu.read::<u32>(buffer, 4, 1), [1 + 100 * times]);
            // Another version does not take the binaries: all is compiled and linked again.
            Stub::next_load(&format!("link_refuses_arg_info,driver={times}"));
            there_and_back(0);
        }
        // So do those that the program keeps as binaries, as with a plain driver; also when it asks for them on both sides of a move.
        let at_first = binary_of(first);
        Stub::next_load("link_refuses_arg_info,driver=3");
        there_and_back(0);
        assert_eq!(binary_of(first), at_first);
        let loaded = [first, library].map(|program| {
            let binary = binary_of(program);
            let (size, mut from) = (binary.len(), binary.as_ptr());
            make!(clCreateProgramWithBinary(
                gpu.context,
                1,
                &raw const gpu.device,
                &raw const size,
                &raw mut from,
                null_mut()
            ))
        });
        let (of_binaries, code) = link(c"", &loaded);
        assert_eq!(code, CL_SUCCESS);
        let again = make!(clCreateKernel(of_binaries, c"increase".as_ptr()));
        set(again, 0, &buffer);
        set(again, 1, &1_u32);
        gpu.run(again, 64);
        assert_eq!(gpu.read::<u32>(buffer, 4, 1), [302]);
        ok!(clReleaseKernel(again));
        for program in [of_binaries, loaded[0], loaded[1]] {
            ok!(clReleaseProgram(program));
        }
        // A program that asks for it itself gets what the driver says.
        let asking = compiled(COUNT_BY, c"-cl-kernel-arg-info");
        let (none, code) = link(c"", &[asking, second]);
        assert_eq!((none, code), (null_mut(), CL_LINK_PROGRAM_FAILURE));
        for kernel in [fill, increase] {
            ok!(clReleaseKernel(kernel));
        }
        for program in [linked, library, first, second, asking] {
            ok!(clReleaseProgram(program));
        }
        ok!(clReleaseMemObject(buffer));
    });
}

fn options_of(program: Handle, device: Handle) -> CString {
    let (mut text, mut size) = (vec![0_u8; 64], 0);
    ok!(clGetProgramBuildInfo(
        program,
        device,
        CL_PROGRAM_BUILD_OPTIONS,
        text.len(),
        text.as_mut_ptr().cast(),
        &raw mut size
    ));
    text.truncate(size);
    CString::from_vec_with_nul(text).unwrap()
}

/// Each device has its own build of the program, and each is made again.
#[test]
fn builds_for_different_devices_are_all_made_again() {
    let test = "binaries::builds_for_different_devices_are_all_made_again";
    in_child(test, "devices=2", || {
        let gpu = Gpu::new();
        let mut devices = [null_mut(); 2];
        ok!(clGetDeviceIDs(
            gpu.platform,
            CL_DEVICE_TYPE_ALL,
            2,
            devices.as_mut_ptr(),
            null_mut()
        ));
        let context = make!(clCreateContext(
            null(),
            2,
            devices.as_ptr(),
            None,
            null_mut()
        ));
        let both = Gpu {
            platform: gpu.platform,
            device: devices[0],
            context,
            queue: make!(clCreateCommandQueue(context, devices[0], 0)),
        };
        let program = both.program(COUNT_BY);
        let build = |list: &[Handle], options: &CStr| {
            ok!(clBuildProgram(
                program,
                list.len() as u32,
                list.as_ptr(),
                options.as_ptr(),
                None,
                null_mut()
            ));
        };
        let check = |options: [&CStr; 2], builds: u64| {
            Stub::next_load("devices=2,driver=2.0");
            there_and_back(0);
            assert_eq!(Stub::calls()("clBuildProgram"), builds);
            let told = devices.map(|device| options_of(program, device));
            assert_eq!(told.each_ref().map(|told| &**told), options);
            Stub::next_load("devices=2");
            there_and_back(0);
        };
        build(&devices, c"-DX=0");
        check([c"-DX=0"; 2], 1);
        build(&devices[1..], c"-DX=2");
        check([c"-DX=0", c"-DX=2"], 2);
        build(&devices[..1], c"-DX=1");
        check([c"-DX=1", c"-DX=2"], 2);
        build(&devices, c"-DX=3");
        check([c"-DX=3"; 2], 1);
        ok!(clReleaseProgram(program));
    });
}
