//! What a classic buffer program does, through the C functions on a real driver.

mod common;

use common::*;
use std::ffi::{CStr, CString, c_void};
use std::ptr::{null, null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::{Duration, Instant};

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn adds_vectors() {
    let gpu = Gpu::new();
    let (a, b) = (
        gpu.buffer(CL_MEM_READ_WRITE, 4096),
        gpu.buffer(CL_MEM_READ_ONLY, 4096),
    );
    let ones: Vec<f32> = (0..1024).map(|i| i as f32).collect();
    gpu.write(a, 0, &ones);
    gpu.write(b, 0, &ones);
    let kernel = gpu.kernel(ADD, "add");
    set(kernel, 0, &a);
    set(kernel, 1, &b);
    set(kernel, 2, &0.5_f32);
    gpu.run(kernel, 1024);
    let sums: Vec<f32> = gpu.read(a, 0, 1024);
    assert!(
        sums.iter()
            .enumerate()
            .all(|(i, &sum)| sum == 2.0 * i as f32 + 0.5)
    );
    for buffer in [a, b] {
        ok!(clReleaseMemObject(buffer));
    }
    ok!(clReleaseKernel(kernel));
}

#[test]
fn local_memory_and_task_and_all_kernels() {
    let gpu = Gpu::new();
    let program = gpu.built(ADD);
    let mut count = 0;
    ok!(clCreateKernelsInProgram(
        program,
        0,
        null_mut(),
        &raw mut count
    ));
    assert_eq!(count, 2);
    let mut kernels = [null_mut(); 2];
    ok!(clCreateKernelsInProgram(
        program,
        2,
        kernels.as_mut_ptr(),
        null_mut()
    ));
    let name = |kernel: Handle| {
        let mut name = [0_u8; 16];
        ok!(clGetKernelInfo(
            kernel,
            CL_KERNEL_FUNCTION_NAME,
            16,
            name.as_mut_ptr().cast(),
            null_mut()
        ));
        CStr::from_bytes_until_nul(&name).unwrap().to_owned()
    };
    let twice = *kernels
        .iter()
        .find(|&&kernel| name(kernel).as_c_str() == c"twice")
        .unwrap();
    let a = gpu.buffer(CL_MEM_READ_WRITE, 64 * 4);
    gpu.write(a, 0, &[21_u32; 64]);
    set(twice, 0, &a);
    ok!(clSetKernelArg(twice, 1, 16 * 4, null()));
    let (global, local) = (64_usize, 16_usize);
    ok!(clEnqueueNDRangeKernel(
        gpu.queue,
        twice,
        1,
        null(),
        &raw const global,
        &raw const local,
        0,
        null(),
        null_mut()
    ));
    assert_eq!(gpu.read::<u32>(a, 0, 64), [42; 64]);
    ok!(clEnqueueTask(gpu.queue, twice, 0, null(), null_mut()));
    assert_eq!(gpu.read::<u32>(a, 0, 2), [84, 42]);
    let mut program_of = null_mut::<c_void>();
    ok!(clGetKernelInfo(
        twice,
        CL_KERNEL_PROGRAM,
        8,
        (&raw mut program_of).cast(),
        null_mut()
    ));
    assert_eq!(program_of, program);
}

#[test]
fn sub_buffers_share_their_parents_bytes() {
    let gpu = Gpu::new();
    let parent = gpu.buffer(CL_MEM_READ_WRITE | CL_MEM_HOST_READ_ONLY, 8192);
    let region = cl_buffer_region {
        origin: 4096,
        size: 1024,
    };
    let info = (&raw const region).cast();
    let sub = make!(clCreateSubBuffer(
        parent,
        CL_MEM_READ_WRITE,
        CL_BUFFER_CREATE_TYPE_REGION,
        info
    ));
    let pattern = 7_u32;
    ok!(clEnqueueFillBuffer(
        gpu.queue,
        parent,
        (&raw const pattern).cast(),
        4,
        0,
        8192,
        0,
        null(),
        null_mut()
    ));
    let kernel = gpu.kernel(COUNT, "count");
    set(kernel, 0, &sub);
    gpu.run(kernel, 256);
    assert_eq!(gpu.read::<u32>(parent, 4092, 3), [7, 8, 8]);
    // The parent's host access is inherited, and was kept from the driver.
    let code = call!(clEnqueueWriteBuffer(
        gpu.queue,
        sub,
        CL_TRUE,
        0,
        4,
        (&raw const pattern).cast(),
        0,
        null(),
        null_mut()
    ));
    assert_eq!(code, CL_INVALID_OPERATION);
    let (mut of, mut offset, mut flags) = (null_mut::<c_void>(), 0_usize, 0_u64);
    ok!(clGetMemObjectInfo(
        sub,
        CL_MEM_ASSOCIATED_MEMOBJECT,
        8,
        (&raw mut of).cast(),
        null_mut()
    ));
    ok!(clGetMemObjectInfo(
        sub,
        CL_MEM_OFFSET,
        8,
        (&raw mut offset).cast(),
        null_mut()
    ));
    ok!(clGetMemObjectInfo(
        parent,
        CL_MEM_FLAGS,
        8,
        (&raw mut flags).cast(),
        null_mut()
    ));
    assert_eq!(
        (of, offset, flags),
        (parent, 4096, CL_MEM_READ_WRITE | CL_MEM_HOST_READ_ONLY)
    );
    // A sub-buffer lives on without the program's reference to its parent.
    ok!(clReleaseMemObject(parent));
    assert_eq!(gpu.read::<u32>(sub, 0, 1), [8]);
    ok!(clReleaseMemObject(sub));
    assert_eq!(call!(clReleaseMemObject(sub)), CL_INVALID_MEM_OBJECT);
}

/// Maps, and gives the memory as a slice for the length of `with`.
fn mapped(
    gpu: &Gpu,
    buffer: Handle,
    flags: u64,
    offset: usize,
    bytes: usize,
    with: impl FnOnce(&mut [u8]),
) -> usize {
    let pointer = make!(clEnqueueMapBuffer(
        gpu.queue,
        buffer,
        CL_TRUE,
        flags,
        offset,
        bytes,
        0,
        null(),
        null_mut()
    ));
    // SAFETY: a mapped region of `bytes` bytes, used by this thread only, until it is unmapped below.
    with(unsafe { std::slice::from_raw_parts_mut(pointer.cast::<u8>(), bytes) });
    ok!(clEnqueueUnmapMemObject(
        gpu.queue,
        buffer,
        pointer,
        0,
        null(),
        null_mut()
    ));
    pointer as usize
}

#[test]
fn maps_buffers_of_every_kind() {
    let gpu = Gpu::new();
    let mut host = vec![1_u8; 8192];
    let start: Vec<u8> = vec![1; 8192];
    let buffers = [
        gpu.buffer(CL_MEM_READ_WRITE, 8192),
        gpu.buffer(CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, 8192),
        make!(clCreateBuffer(
            gpu.context,
            CL_MEM_USE_HOST_PTR,
            8192,
            host.as_mut_ptr().cast()
        )),
        make!(clCreateBuffer(
            gpu.context,
            CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR,
            8192,
            start.as_ptr().cast_mut().cast()
        )),
        make!(clCreateBuffer(
            gpu.context,
            CL_MEM_COPY_HOST_PTR,
            8192,
            start.as_ptr().cast_mut().cast()
        )),
    ];
    for (at, &buffer) in buffers.iter().enumerate() {
        if at < 2 {
            gpu.write(buffer, 0, &start);
        }
        let first = mapped(&gpu, buffer, CL_MAP_READ | CL_MAP_WRITE, 100, 50, |bytes| {
            assert_eq!(bytes, [1; 50], "kind {at}");
            bytes.fill(2);
        });
        let second = mapped(&gpu, buffer, CL_MAP_READ, 0, 8192, |bytes| {
            assert_eq!(
                (bytes[99], bytes[100], bytes[149], bytes[150]),
                (1, 2, 2, 1),
                "kind {at}"
            );
        });
        assert_eq!(first, second + 100, "kind {at}");
        mapped(
            &gpu,
            buffer,
            CL_MAP_WRITE_INVALIDATE_REGION,
            8000,
            192,
            |bytes| bytes.fill(3),
        );
        assert_eq!(gpu.read::<u8>(buffer, 7999, 3), [1, 3, 3], "kind {at}");
        if at == 2 {
            assert_eq!(second, host.as_ptr() as usize);
        }
        let mut pointer = 1_usize;
        ok!(clGetMemObjectInfo(
            buffer,
            CL_MEM_HOST_PTR,
            8,
            (&raw mut pointer).cast(),
            null_mut()
        ));
        assert_eq!(pointer, if at == 2 { host.as_ptr() as usize } else { 0 });
        ok!(clReleaseMemObject(buffer));
    }
}

#[test]
fn overlapping_maps_are_consistent_and_counted() {
    let gpu = Gpu::new();
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 4096);
    gpu.write(buffer, 0, &[5_u8; 4096]);
    let count = || {
        let mut count = 0_u32;
        ok!(clGetMemObjectInfo(
            buffer,
            CL_MEM_MAP_COUNT,
            4,
            (&raw mut count).cast(),
            null_mut()
        ));
        count
    };
    mapped(
        &gpu,
        buffer,
        CL_MAP_READ | CL_MAP_WRITE,
        1000,
        100,
        |outer| {
            outer.fill(9);
            mapped(&gpu, buffer, CL_MAP_READ, 900, 300, |inner| {
                assert_eq!(
                    (inner[99], inner[100], inner[199], inner[200]),
                    (5, 9, 9, 5)
                );
                assert_eq!(count(), 2);
            });
            assert_eq!(count(), 1);
        },
    );
    assert_eq!(count(), 0);
    assert_eq!(gpu.read::<u8>(buffer, 999, 2), [5, 9]);
    let unmapped = call!(clEnqueueUnmapMemObject(
        gpu.queue,
        buffer,
        without_provenance_mut(8),
        0,
        null(),
        null_mut()
    ));
    assert_eq!(unmapped, CL_INVALID_VALUE);
}

#[test]
fn copies_and_rectangles() {
    let gpu = Gpu::new();
    let (a, b) = (
        gpu.buffer(CL_MEM_READ_WRITE, 64),
        gpu.buffer(CL_MEM_READ_WRITE, 64),
    );
    let bytes: Vec<u8> = (0..64).collect();
    gpu.write(a, 0, &bytes);
    gpu.write(b, 0, &[0_u8; 64]);
    ok!(clEnqueueCopyBuffer(
        gpu.queue,
        a,
        b,
        8,
        0,
        8,
        0,
        null(),
        null_mut()
    ));
    assert_eq!(gpu.read::<u8>(b, 0, 9), [8, 9, 10, 11, 12, 13, 14, 15, 0]);
    // 2 × 2 bytes at (1, 1) of rows of 8.
    let (from, to, region) = ([1_usize, 1, 0], [4_usize, 4, 0], [2_usize, 2, 1]);
    ok!(clEnqueueCopyBufferRect(
        gpu.queue,
        a,
        b,
        from.as_ptr(),
        to.as_ptr(),
        region.as_ptr(),
        8,
        0,
        8,
        0,
        0,
        null(),
        null_mut()
    ));
    assert_eq!(
        (gpu.read::<u8>(b, 36, 2), gpu.read::<u8>(b, 44, 2)),
        (vec![9, 10], vec![17, 18])
    );
    let mut square = [0_u8; 4];
    let zero = [0_usize; 3];
    ok!(clEnqueueReadBufferRect(
        gpu.queue,
        a,
        CL_TRUE,
        from.as_ptr(),
        zero.as_ptr(),
        region.as_ptr(),
        8,
        0,
        2,
        0,
        square.as_mut_ptr().cast(),
        0,
        null(),
        null_mut()
    ));
    assert_eq!(square, [9, 10, 17, 18]);
    ok!(clEnqueueWriteBufferRect(
        gpu.queue,
        b,
        CL_TRUE,
        zero.as_ptr(),
        zero.as_ptr(),
        region.as_ptr(),
        8,
        0,
        2,
        0,
        square.as_ptr().cast(),
        0,
        null(),
        null_mut()
    ));
    assert_eq!(
        (gpu.read::<u8>(b, 0, 2), gpu.read::<u8>(b, 8, 2)),
        (vec![9, 10], vec![17, 18])
    );
    let both = [a, b];
    ok!(clEnqueueMigrateMemObjects(
        gpu.queue,
        2,
        both.as_ptr(),
        0,
        0,
        null(),
        null_mut()
    ));
    gpu.finish();
}

static CALLED: AtomicU32 = AtomicU32::new(0);
static LAST_STATUS: AtomicI32 = AtomicI32::new(i32::MAX);

unsafe extern "C" fn on_event(event: Handle, status: i32, user: *mut c_void) {
    LAST_STATUS.store(status, Ordering::SeqCst);
    // A callback may call OpenCL, on the handle that the program knows.
    let mut kind = 0_u32;
    ok!(clGetEventInfo(
        event,
        CL_EVENT_COMMAND_TYPE,
        4,
        (&raw mut kind).cast(),
        null_mut()
    ));
    CALLED.fetch_add(user as u32, Ordering::SeqCst);
}

#[test]
fn events_user_events_callbacks_and_profiling() {
    let gpu = Gpu::with_queue(CL_QUEUE_PROFILING_ENABLE | CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 4096);
    let user = make!(clCreateUserEvent(gpu.context));
    let (mut write, mut marker) = (null_mut(), null_mut());
    let data = [3_u8; 4096];
    ok!(clEnqueueWriteBuffer(
        gpu.queue,
        buffer,
        CL_FALSE,
        0,
        4096,
        data.as_ptr().cast(),
        1,
        &raw const user,
        &raw mut write
    ));
    ok!(clEnqueueMarkerWithWaitList(
        gpu.queue,
        1,
        &raw const write,
        &raw mut marker
    ));
    ok!(clSetEventCallback(
        write,
        CL_COMPLETE,
        Some(on_event),
        without_provenance_mut(1)
    ));
    ok!(clSetEventCallback(
        user,
        CL_COMPLETE,
        Some(on_event),
        without_provenance_mut(10)
    ));
    ok!(clFlush(gpu.queue));
    assert_eq!(CALLED.load(Ordering::SeqCst), 0);
    ok!(clSetUserEventStatus(user, CL_COMPLETE));
    assert_eq!(
        call!(clSetUserEventStatus(user, CL_COMPLETE)),
        CL_INVALID_OPERATION
    );
    assert_eq!(
        call!(clSetUserEventStatus(write, CL_COMPLETE)),
        CL_INVALID_EVENT
    );
    ok!(clWaitForEvents(1, &raw const marker));
    wait_until("both callbacks", || CALLED.load(Ordering::SeqCst) == 11);
    assert_eq!(LAST_STATUS.load(Ordering::SeqCst), CL_COMPLETE);
    // On an event that is complete already it comes as well.
    ok!(clSetEventCallback(
        write,
        CL_COMPLETE,
        Some(on_event),
        without_provenance_mut(100)
    ));
    wait_until("the late callback", || CALLED.load(Ordering::SeqCst) == 111);
    let time = |parameter| {
        let mut time = 0_u64;
        ok!(clGetEventProfilingInfo(
            write,
            parameter,
            8,
            (&raw mut time).cast(),
            null_mut()
        ));
        time
    };
    assert!(time(CL_PROFILING_COMMAND_QUEUED) <= time(CL_PROFILING_COMMAND_START));
    assert!(time(CL_PROFILING_COMMAND_START) <= time(CL_PROFILING_COMMAND_END));
    let (mut queue, mut kind) = (null_mut::<c_void>(), 0_u32);
    ok!(clGetEventInfo(
        write,
        CL_EVENT_COMMAND_QUEUE,
        8,
        (&raw mut queue).cast(),
        null_mut()
    ));
    ok!(clGetEventInfo(
        write,
        CL_EVENT_COMMAND_TYPE,
        4,
        (&raw mut kind).cast(),
        null_mut()
    ));
    assert_eq!((queue, kind), (gpu.queue, CL_COMMAND_WRITE_BUFFER));
    for event in [user, write, marker] {
        ok!(clReleaseEvent(event));
        assert_eq!(call!(clReleaseEvent(event)), CL_INVALID_EVENT);
    }
}

unsafe extern "C" fn on_destruction(_mem: Handle, user: *mut c_void) {
    // SAFETY: the test passes its own atomic, which outlives the call.
    let order = unsafe { &*user.cast::<AtomicU32>() };
    order.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn destructor_callbacks_come_once() {
    let gpu = Gpu::new();
    let gone = AtomicU32::new(0);
    let user = (&raw const gone).cast_mut().cast::<c_void>();
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
    ok!(clSetMemObjectDestructorCallback(
        buffer,
        Some(on_destruction),
        user
    ));
    ok!(clRetainMemObject(buffer));
    ok!(clReleaseMemObject(buffer));
    gpu.finish();
    assert_eq!(gone.load(Ordering::SeqCst), 0);
    ok!(clReleaseMemObject(buffer));
    wait_until("the destructor callback", || {
        gone.load(Ordering::SeqCst) == 1
    });
}

fn build_text(program: Handle, device: Handle, parameter: u32) -> String {
    let mut size = 0;
    ok!(clGetProgramBuildInfo(
        program,
        device,
        parameter,
        0,
        null_mut(),
        &raw mut size
    ));
    let mut text = vec![0_u8; size];
    ok!(clGetProgramBuildInfo(
        program,
        device,
        parameter,
        size,
        text.as_mut_ptr().cast(),
        null_mut()
    ));
    CString::from_vec_with_nul(text)
        .unwrap()
        .into_string()
        .unwrap()
}

#[test]
fn builds_fail_with_a_log_and_show_the_options_as_passed() {
    let gpu = Gpu::new();
    let bad = gpu.program("__kernel void k(__global int *a) { a[0] = missing; }");
    let code = call!(clBuildProgram(
        bad,
        0,
        null(),
        c"-DX=1 -w".as_ptr(),
        None,
        null_mut()
    ));
    assert_eq!(code, CL_BUILD_PROGRAM_FAILURE);
    assert!(build_text(bad, gpu.device, CL_PROGRAM_BUILD_LOG).contains("missing"));
    assert_eq!(
        build_text(bad, gpu.device, CL_PROGRAM_BUILD_OPTIONS),
        "-DX=1 -w"
    );
    let mut kernel_code = 0;
    let kernel = call!(clCreateKernel(bad, c"k".as_ptr(), &raw mut kernel_code));
    assert!(kernel.is_null() && kernel_code == CL_INVALID_PROGRAM_EXECUTABLE);
    let good = gpu.built(ADD);
    assert_eq!(build_text(good, gpu.device, CL_PROGRAM_BUILD_OPTIONS), "");
    let mut no_kernel = 0;
    call!(clCreateKernel(
        good,
        c"nothing".as_ptr(),
        &raw mut no_kernel
    ));
    assert_eq!(no_kernel, CL_INVALID_KERNEL_NAME);
}

unsafe extern "C" fn on_build(program: Handle, user: *mut c_void) {
    // SAFETY: the test passes its own atomic, which outlives the build.
    unsafe { &*user.cast::<AtomicU32>() }
        .fetch_add(u32::from(!program.is_null()), Ordering::SeqCst);
}

#[test]
fn programs_from_binaries_and_linked_ones() {
    let gpu = Gpu::new();
    let built = AtomicU32::new(0);
    let program = gpu.program(COUNT);
    let user = (&raw const built).cast_mut().cast();
    ok!(clBuildProgram(
        program,
        0,
        null(),
        null(),
        Some(on_build),
        user
    ));
    wait_until("the build's callback", || built.load(Ordering::SeqCst) == 1);
    let mut size = 0_usize;
    ok!(clGetProgramInfo(
        program,
        CL_PROGRAM_BINARY_SIZES,
        8,
        (&raw mut size).cast(),
        null_mut()
    ));
    let mut binary = vec![0_u8; size];
    let mut place = binary.as_mut_ptr();
    ok!(clGetProgramInfo(
        program,
        CL_PROGRAM_BINARIES,
        8,
        (&raw mut place).cast(),
        null_mut()
    ));
    let mut from = binary.as_ptr();
    let mut status = 1;
    let loaded = make!(clCreateProgramWithBinary(
        gpu.context,
        1,
        &raw const gpu.device,
        &raw const size,
        &raw mut from,
        &raw mut status
    ));
    assert_eq!(status, CL_SUCCESS);
    ok!(clBuildProgram(
        loaded,
        1,
        &raw const gpu.device,
        null(),
        None,
        null_mut()
    ));
    let object = gpu.program(COUNT);
    ok!(clCompileProgram(
        object,
        0,
        null(),
        null(),
        0,
        null(),
        null_mut(),
        None,
        null_mut()
    ));
    let linked = make!(clLinkProgram(
        gpu.context,
        0,
        null(),
        null(),
        1,
        &raw const object,
        None,
        null_mut()
    ));
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
    gpu.write(buffer, 0, &[0_u32; 16]);
    for program in [loaded, linked] {
        let kernel = make!(clCreateKernel(program, c"count".as_ptr()));
        set(kernel, 0, &buffer);
        gpu.run(kernel, 16);
        ok!(clReleaseKernel(kernel));
    }
    assert_eq!(gpu.read::<u32>(buffer, 0, 16), [2; 16]);
}

#[test]
fn bad_handles_give_the_specifications_errors() {
    let gpu = Gpu::new();
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
    let kernel = gpu.kernel(COUNT, "count");
    let garbage = [
        null_mut(),
        8 as Handle,
        0x1234_5678_9abc_def0_u64 as Handle,
        (buffer as usize + 8) as Handle,
    ];
    for wrong in garbage.into_iter().chain([kernel, gpu.context]) {
        assert_eq!(call!(clRetainMemObject(wrong)), CL_INVALID_MEM_OBJECT);
        assert_eq!(call!(clReleaseEvent(wrong)), CL_INVALID_EVENT);
        assert_eq!(call!(clFinish(wrong)), CL_INVALID_COMMAND_QUEUE);
        assert_eq!(call!(clReleaseProgram(wrong)), CL_INVALID_PROGRAM);
        assert_eq!(
            call!(clGetDeviceInfo(
                wrong,
                CL_DEVICE_NAME,
                0,
                null_mut(),
                null_mut()
            )),
            CL_INVALID_DEVICE
        );
    }
    for wrong in garbage {
        assert_eq!(
            call!(clSetKernelArg(wrong, 0, 8, null())),
            CL_INVALID_KERNEL
        );
        assert_eq!(call!(clReleaseContext(wrong)), CL_INVALID_CONTEXT);
    }
    assert_eq!(
        call!(clSetKernelArg(kernel, 5, 8, (&raw const buffer).cast())),
        CL_INVALID_ARG_INDEX
    );
    assert_eq!(
        call!(clSetKernelArg(kernel, 0, 8, (&raw const kernel).cast())),
        CL_INVALID_MEM_OBJECT
    );
    ok!(clReleaseMemObject(buffer));
    assert_eq!(call!(clReleaseMemObject(buffer)), CL_INVALID_MEM_OBJECT);
    assert_eq!(
        call!(clSetKernelArg(kernel, 0, 8, (&raw const buffer).cast())),
        CL_INVALID_MEM_OBJECT
    );
    let mut code = 0;
    call!(clCreateBuffer(
        gpu.context,
        CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR,
        64,
        8 as Handle,
        &raw mut code
    ));
    assert_eq!(code, CL_INVALID_VALUE);
    call!(clCreateBuffer(
        gpu.context,
        CL_MEM_COPY_HOST_PTR,
        64,
        null_mut(),
        &raw mut code
    ));
    assert_eq!(code, CL_INVALID_HOST_PTR);
    call!(clCreateBuffer(gpu.context, 0, 0, null_mut(), &raw mut code));
    assert_eq!(code, CL_INVALID_BUFFER_SIZE);
}

#[test]
fn parents_live_while_their_children_do() {
    let gpu = Gpu::new();
    let context = make!(clCreateContext(
        null(),
        1,
        &raw const gpu.device,
        None,
        null_mut()
    ));
    let buffer = make!(clCreateBuffer(context, CL_MEM_READ_WRITE, 64, null_mut()));
    ok!(clReleaseContext(context));
    assert_eq!(call!(clReleaseContext(context)), CL_INVALID_CONTEXT);
    let mut of = null_mut::<c_void>();
    ok!(clGetMemObjectInfo(
        buffer,
        CL_MEM_CONTEXT,
        8,
        (&raw mut of).cast(),
        null_mut()
    ));
    assert_eq!(of, context);
    let mut device = null_mut::<c_void>();
    ok!(clGetContextInfo(
        context,
        CL_CONTEXT_DEVICES,
        8,
        (&raw mut device).cast(),
        null_mut()
    ));
    assert_eq!(device, gpu.device);
    // Got back from a query, it can be retained again.
    ok!(clRetainContext(context));
    ok!(clReleaseMemObject(buffer));
    ok!(clReleaseContext(context));
    assert_eq!(call!(clRetainContext(context)), CL_INVALID_CONTEXT);
}

#[test]
fn info_queries_follow_the_size_protocol() {
    let gpu = Gpu::new();
    let mut size = 0;
    ok!(clGetPlatformInfo(
        gpu.platform,
        CL_PLATFORM_NAME,
        0,
        null_mut(),
        &raw mut size
    ));
    let mut short = vec![0_u8; size - 1];
    let into = short.as_mut_ptr().cast();
    assert_eq!(
        call!(clGetPlatformInfo(
            gpu.platform,
            CL_PLATFORM_NAME,
            size - 1,
            into,
            null_mut()
        )),
        CL_INVALID_VALUE
    );
    let mut platform = null_mut::<c_void>();
    ok!(clGetDeviceInfo(
        gpu.device,
        CL_DEVICE_PLATFORM,
        8,
        (&raw mut platform).cast(),
        &raw mut size
    ));
    assert_eq!((platform, size), (gpu.platform, 8));
    let mut count = 9_u32;
    ok!(clGetContextInfo(
        gpu.context,
        CL_CONTEXT_REFERENCE_COUNT,
        4,
        (&raw mut count).cast(),
        null_mut()
    ));
    assert_eq!(count, 1);
    let mut properties = [7_isize; 3];
    ok!(clGetContextInfo(
        gpu.context,
        CL_CONTEXT_PROPERTIES,
        24,
        properties.as_mut_ptr().cast(),
        null_mut()
    ));
    assert_eq!(properties, [CL_CONTEXT_PLATFORM, gpu.platform as isize, 0]);
    assert_eq!(
        call!(clGetContextInfo(
            gpu.context,
            0xffff,
            0,
            null_mut(),
            null_mut()
        )),
        CL_INVALID_VALUE
    );
}
