//! What only the stub driver has: built-in kernels that work, an intermediate language, on-device queues, suggested sizes, release callbacks.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::events::fence;
use crate::common::moving::there_and_back;
use crate::common::*;
use crate::rig::{Stub, in_child};
use runtime::mover;

/// Reverses each work-group's part; the size of a work-group is specialization constant 7.
const REVERSE: &str = "__kernel __attribute__((reqd_work_group_size(${7:4}, 1, 1))) \
                       void reverse(__global uint *a, __local uint *scratch) {}";

pub fn il() -> Vec<u8> {
    [&0x0723_0203_u32.to_ne_bytes(), REVERSE.as_bytes()].concat()
}

pub fn specialize(program: Handle, id: u32, value: u32) -> i32 {
    let pointer = (&raw const value).cast();
    call!(clSetProgramSpecializationConstant(program, id, 4, pointer))
}

pub fn build(program: Handle) {
    ok!(clBuildProgram(program, 0, null(), null(), None, null_mut()));
}

/// Size of a work-group that a new kernel of the program wants, as queried and as it works.
pub fn group_size(gpu: &Gpu, program: Handle) -> usize {
    let kernel = make!(clCreateKernel(program, c"reverse".as_ptr()));
    let mut size = [0_usize; 3];
    ok!(clGetKernelWorkGroupInfo(
        kernel,
        gpu.device,
        CL_KERNEL_COMPILE_WORK_GROUP_SIZE,
        24,
        size.as_mut_ptr().cast(),
        null_mut()
    ));
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64 * 4);
    let numbers: Vec<u32> = (0..64).collect();
    gpu.write(buffer, 0, &numbers);
    set(kernel, 0, &buffer);
    ok!(clSetKernelArg(kernel, 1, 64 * 4, null()));
    gpu.run(kernel, 64);
    assert_eq!(gpu.read::<u32>(buffer, 0, 1), [size[0] as u32 - 1]);
    ok!(clReleaseKernel(kernel));
    ok!(clReleaseMemObject(buffer));
    size[0]
}

#[test]
fn an_intermediate_language_keeps_its_constants() {
    let test = "programs::an_intermediate_language_keeps_its_constants";
    in_child(test, "nvidia", || {
        let gpu = Gpu::new();
        let module = il();
        let program = make!(clCreateProgramWithIL(
            gpu.context,
            module.as_ptr().cast(),
            module.len()
        ));
        assert_eq!(specialize(program, 9, 1), CL_INVALID_SPEC_ID);
        build(program);
        assert_eq!(group_size(&gpu, program), 4);
        ok_code(specialize(program, 7, 8));
        build(program);
        // For the next build only.
        ok_code(specialize(program, 7, 16));
        assert_eq!(group_size(&gpu, program), 8);
        // The same driver takes its binary back; another one builds from the module again.
        for driver in ["1.0", "2.0", "2.0"] {
            Stub::next_load(&format!("driver={driver}"));
            there_and_back(0);
            assert_eq!(group_size(&gpu, program), 8, "driver {driver}");
            let mut shown = vec![0_u8; module.len()];
            let room = shown.as_mut_ptr().cast();
            ok!(clGetProgramInfo(
                program,
                CL_PROGRAM_IL,
                module.len(),
                room,
                null_mut()
            ));
            assert_eq!(shown, module);
        }
        assert_eq!(specialize(program, 9, 1), CL_INVALID_SPEC_ID);
        build(program);
        assert_eq!(group_size(&gpu, program), 16);
        there_and_back(0);
        ok_code(specialize(program, 7, 32));
        assert_eq!(group_size(&gpu, program), 16);
        build(program);
        assert_eq!(group_size(&gpu, program), 32);
        ok!(clReleaseProgram(program));
        let source = gpu.built(COUNT_BY);
        assert_eq!(specialize(source, 7, 1), CL_INVALID_PROGRAM);
        ok!(clReleaseProgram(source));
    });
}

pub const COUNT_BY: &str = "__kernel void increase(__global uint *a, const uint by) {}";

fn ok_code(code: i32) {
    assert_eq!(code, CL_SUCCESS);
}

#[test]
fn built_in_kernels_move() {
    in_child("programs::built_in_kernels_move", "nvidia", || {
        let gpu = Gpu::new();
        let names = c"fill_seq;increase";
        let program = make!(clCreateProgramWithBuiltInKernels(
            gpu.context,
            1,
            &raw const gpu.device,
            names.as_ptr()
        ));
        let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64 * 4);
        let fill = make!(clCreateKernel(program, c"fill_seq".as_ptr()));
        set(fill, 0, &buffer);
        gpu.run(fill, 64);
        for times in 1..3_u32 {
            Stub::next_load(&format!("driver={times}"));
            there_and_back(0);
            let increase = make!(clCreateKernel(program, c"increase".as_ptr()));
            set(increase, 0, &buffer);
            set(increase, 1, &100_u32);
            gpu.run(increase, 64);
            assert_eq!(gpu.read::<u32>(buffer, 4, 1), [1 + 100 * times]);
            ok!(clReleaseKernel(increase));
        }
        gpu.run(fill, 64);
        assert_eq!(gpu.read::<u32>(buffer, 4, 1), [1]);
        ok!(clReleaseKernel(fill));
        ok!(clReleaseProgram(program));
        ok!(clReleaseMemObject(buffer));
    });
}

fn queue_info<T: Copy + Default>(queue: Handle, parameter: u32) -> T {
    let mut value = T::default();
    let room = (&raw mut value).cast();
    ok!(clGetCommandQueueInfo(
        queue,
        parameter,
        size_of::<T>(),
        room,
        null_mut()
    ));
    value
}

#[test]
fn device_queues_and_their_default_move() {
    in_child(
        "programs::device_queues_and_their_default_move",
        "nvidia",
        || {
            let gpu = Gpu::new();
            let bits = CL_QUEUE_ON_DEVICE | CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
            let list = |bits| {
                [
                    CL_QUEUE_PROPERTIES.into(),
                    bits,
                    CL_QUEUE_SIZE.into(),
                    32 << 10,
                    0,
                ]
            };
            let create = |list: [u64; 5]| {
                make!(clCreateCommandQueueWithProperties(
                    gpu.context,
                    gpu.device,
                    list.as_ptr()
                ))
            };
            let first = create(list(bits | CL_QUEUE_ON_DEVICE_DEFAULT));
            let second = create(list(bits));
            assert_eq!(
                queue_info::<usize>(second, CL_QUEUE_DEVICE_DEFAULT),
                first as usize
            );
            ok!(clSetDefaultDeviceCommandQueue(
                gpu.context,
                gpu.device,
                second
            ));
            let program = gpu.built("kernel void fill_behind(queue_t line, global uint *out) {}");
            let kernel = make!(clCreateKernel(program, c"fill_behind".as_ptr()));
            let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64 * 4);
            set(kernel, 0, &second);
            set(kernel, 1, &buffer);
            let host_queue = call!(clSetKernelArg(kernel, 0, 8, (&raw const gpu.queue).cast()));
            assert_eq!(host_queue, CL_INVALID_DEVICE_QUEUE);
            let no_queue = call!(clSetKernelArg(kernel, 0, 8, (&raw const buffer).cast()));
            assert_eq!(no_queue, CL_INVALID_DEVICE_QUEUE);
            for _ in 0..2 {
                there_and_back(0);
                gpu.write(buffer, 0, &[0_u32; 64]);
                gpu.run(kernel, 64);
                assert_eq!(gpu.read::<u32>(buffer, 0, 3), [0, 1, 2]);
                for queue in [first, second] {
                    assert_eq!(queue_info::<u32>(queue, CL_QUEUE_SIZE), 32 << 10);
                    assert_eq!(
                        queue_info::<usize>(queue, CL_QUEUE_DEVICE_DEFAULT),
                        second as usize
                    );
                    assert_eq!(call!(clFinish(queue)), CL_INVALID_COMMAND_QUEUE);
                }
                assert_eq!(
                    queue_info::<[u64; 5]>(second, CL_QUEUE_PROPERTIES_ARRAY),
                    list(bits)
                );
            }
            ok!(clReleaseKernel(kernel));
            ok!(clReleaseProgram(program));
            ok!(clReleaseMemObject(buffer));
            ok!(clReleaseCommandQueue(second));
            ok!(clReleaseCommandQueue(first));
        },
    );
}

type Suggest =
    unsafe extern "C" fn(Handle, Handle, u32, *const usize, *const usize, *mut usize) -> i32;

#[test]
fn work_group_sizes_are_suggested() {
    in_child("programs::work_group_sizes_are_suggested", "nvidia", || {
        let gpu = Gpu::new();
        let kernel = gpu.kernel(COUNT_BY, "increase");
        let address = call!(clGetExtensionFunctionAddressForPlatform(
            gpu.platform,
            c"clGetKernelSuggestedLocalWorkSizeKHR".as_ptr()
        ));
        // SAFETY: `cl_khr_suggested_local_work_size` gives the function this prototype.
        let suggest = unsafe { std::mem::transmute::<Handle, Suggest>(address) };
        let (global, mut local) = ([96_usize, 3], [0_usize; 2]);
        let into = local.as_mut_ptr();
        // SAFETY: two sizes each, as the call says.
        let code = unsafe { suggest(gpu.queue, kernel, 2, null(), global.as_ptr(), into) };
        assert_eq!((code, local), (CL_SUCCESS, [32, 1]));
        // SAFETY: as above; a NULL is an error.
        let code = unsafe { suggest(gpu.queue, kernel, 2, null(), global.as_ptr(), null_mut()) };
        assert_eq!(code, CL_INVALID_VALUE);
        ok!(clReleaseKernel(kernel));
    });
}

static RELEASED: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn released(_program: Handle, by: *mut c_void) {
    let order = RELEASED.load(Ordering::SeqCst);
    RELEASED.store(order * 10 + by as u32, Ordering::SeqCst);
}

#[test]
fn release_callbacks_come_once_and_not_because_of_a_move() {
    let test = "programs::release_callbacks_come_once_and_not_because_of_a_move";
    in_child(test, "nvidia", || {
        let gpu = Gpu::new();
        let program = gpu.built(COUNT_BY);
        let kernel = make!(clCreateKernel(program, c"increase".as_ptr()));
        let by = |number: usize| std::ptr::without_provenance_mut(number);
        ok!(clSetProgramReleaseCallback(program, Some(released), by(1)));
        there_and_back(0);
        ok!(clSetProgramReleaseCallback(program, Some(released), by(2)));
        there_and_back(0);
        ok!(clReleaseProgram(program));
        fence();
        // The kernel is still there, and so is its program.
        assert_eq!(RELEASED.load(Ordering::SeqCst), 0);
        ok!(clReleaseKernel(kernel));
        there_and_back(0);
        fence();
        // Last registered, first called.
        assert_eq!(RELEASED.load(Ordering::SeqCst), 21);
    });
}

/// A move would lose them: it is refused for as long as such a program lives.
#[test]
fn variables_at_program_scope_are_a_reason() {
    let test = "programs::variables_at_program_scope_are_a_reason";
    in_child(test, "nvidia,global_variables=64", || {
        let gpu = Gpu::new();
        let program = gpu.program(COUNT_BY);
        there_and_back(0);
        build(program);
        let reason = mover::blocked().unwrap();
        assert!(reason.contains("variables at program scope"), "{reason}");
        assert!(mover::begin().is_err());
        build(program);
        ok!(clReleaseProgram(program));
        assert_eq!(mover::blocked(), None);
        there_and_back(0);
    });
}

/// What a kernel was told besides its arguments goes to its clones, and with them.
#[test]
fn a_clone_keeps_its_execution_info() {
    let options = "nvidia,svm_system";
    in_child(
        "programs::a_clone_keeps_its_execution_info",
        options,
        || {
            let gpu = Gpu::new();
            let kernel = gpu.kernel(COUNT_BY, "increase");
            let (system, info) = (CL_TRUE, CL_KERNEL_EXEC_INFO_SVM_FINE_GRAIN_SYSTEM);
            let pointer = (&raw const system).cast();
            ok!(clSetKernelExecInfo(kernel, info, 4, pointer));
            let clone = make!(clCloneKernel(kernel));
            ok!(clReleaseKernel(kernel));
            Stub::next_load("svm_system");
            there_and_back(0);
            assert_eq!(Stub::calls()("clSetKernelExecInfo"), 1);
            ok!(clReleaseKernel(clone));
        },
    );
}
