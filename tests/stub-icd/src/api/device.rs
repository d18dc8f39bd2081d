//! Devices.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::*;

use crate::call::entry_points;
use crate::core::device::Device;
use crate::core::event;
use crate::core::mem;
use crate::core::platform::Platform;
use crate::driver;
use crate::ffi::{CLResult, HostOut, In, Out};
use crate::handle;
use crate::info::Answer;
use crate::kernels::known;
use crate::options;

entry_points! {
    fn clGetDeviceIDs(
        platform: *mut c_void,
        device_type: u64,
        num_entries: u32,
        devices: Out<cl_device_id>,
        num_devices: Out<u32>,
    ) {
        if !platform.is_null() {
            handle::get::<Platform>(platform)?;
        }
        if (num_entries == 0) != devices.is_null() || devices.is_null() && num_devices.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let found = of_type(device_type)?;
        let handles: Vec<_> = found.iter().take(num_entries as usize).map(|device| device.slot.handle()).collect();
        devices.set_list(&handles);
        num_devices.set(found.len() as u32);
        Ok(())
    }

    fn clGetDeviceInfo(device: *mut c_void, name: u32, size: usize, value: HostOut, size_ret: Out<usize>) {
        let device = handle::get::<Device>(device)?;
        answer(&device, name, Answer::new(size, value, size_ret))
    }

    // "clRetainDevice increments the device reference count if device is a valid sub-device … If device is a root
    // level device … the device reference count remains unchanged."
    fn clRetainDevice(device: *mut c_void) {
        handle::get::<Device>(device).map(drop)
    }

    fn clReleaseDevice(device: *mut c_void) {
        handle::get::<Device>(device).map(drop)
    }

    fn clCreateSubDevices(
        device: *mut c_void,
        properties: In<isize>,
        num_devices: u32,
        devices: Out<cl_device_id>,
        num_devices_ret: Out<u32>,
    ) {
        handle::get::<Device>(device)?;
        let _ = (properties, num_devices, devices, num_devices_ret);
        Err(CL_INVALID_VALUE)
    }

    fn clGetDeviceAndHostTimer(device: *mut c_void, device_time: Out<u64>, host_time: Out<u64>) {
        handle::get::<Device>(device)?;
        if device_time.is_null() || host_time.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let now = event::now();
        device_time.set(now);
        host_time.set(now);
        Ok(())
    }

    fn clGetHostTimer(device: *mut c_void, host_time: Out<u64>) {
        handle::get::<Device>(device)?;
        if host_time.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        host_time.set(event::now());
        Ok(())
    }
}

/// The devices of a type.
pub fn of_type(device_type: u64) -> CLResult<Vec<Arc<Device>>> {
    let known = CL_DEVICE_TYPE_DEFAULT
        | CL_DEVICE_TYPE_CPU
        | CL_DEVICE_TYPE_GPU
        | CL_DEVICE_TYPE_ACCELERATOR
        | CL_DEVICE_TYPE_CUSTOM;
    if device_type != CL_DEVICE_TYPE_ALL && (device_type == 0 || device_type & !known != 0) {
        return Err(CL_INVALID_DEVICE_TYPE);
    }
    let driver = driver::load()?;
    match device_type {
        _ if device_type & CL_DEVICE_TYPE_GPU != 0 => Ok(driver.devices.clone()),
        _ if device_type & CL_DEVICE_TYPE_DEFAULT != 0 => Ok(driver.devices[..1].to_vec()),
        _ => Err(CL_DEVICE_NOT_FOUND),
    }
}

fn answer(device: &Device, name: u32, answer: Answer) -> CLResult<()> {
    let memory = options::in_force().memory;
    let spec = device.platform.spec;
    let zero = 0_u32;
    match name {
        CL_DEVICE_TYPE => answer.value(CL_DEVICE_TYPE_GPU),
        CL_DEVICE_VENDOR_ID => answer.value(0x584c_u32),
        CL_DEVICE_NAME => answer.text(&device.name),
        CL_DEVICE_VENDOR => answer.text(&device.vendor),
        CL_DRIVER_VERSION => answer.text(&device.driver),
        CL_DEVICE_PROFILE => answer.text("FULL_PROFILE"),
        CL_DEVICE_VERSION => answer.text(&device.platform.version()),
        CL_DEVICE_OPENCL_C_VERSION => answer.text("OpenCL C 1.2 xl-gpu stub"),
        CL_DEVICE_EXTENSIONS => {
            let names: Vec<_> = Device::extensions()
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            answer.text(&names.join(" "))
        }
        CL_DEVICE_BUILT_IN_KERNELS | CL_DEVICE_PARTITION_TYPE if spec < (1, 2) => {
            Err(CL_INVALID_VALUE)
        }
        CL_DEVICE_BUILT_IN_KERNELS => answer.text(&known::BUILT_IN.map(|(name, _)| name).join(";")),
        CL_DEVICE_PLATFORM => answer.value(device.platform.slot.handle()),
        CL_DEVICE_PARENT_DEVICE => answer.value(std::ptr::null_mut::<c_void>()),
        CL_DEVICE_REFERENCE_COUNT | CL_DEVICE_MAX_COMPUTE_UNITS => answer.value(1_u32),
        CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS => answer.value(3_u32),
        CL_DEVICE_MAX_WORK_ITEM_SIZES => answer.list(&[Device::MAX_WORK_GROUP_SIZE; 3]),
        CL_DEVICE_MAX_WORK_GROUP_SIZE | CL_DEVICE_PRINTF_BUFFER_SIZE => {
            answer.value(Device::MAX_WORK_GROUP_SIZE)
        }
        CL_DEVICE_PREFERRED_VECTOR_WIDTH_HALF | CL_DEVICE_NATIVE_VECTOR_WIDTH_HALF => {
            answer.value(zero)
        }
        CL_DEVICE_PREFERRED_VECTOR_WIDTH_CHAR..=CL_DEVICE_PREFERRED_VECTOR_WIDTH_DOUBLE
        | CL_DEVICE_NATIVE_VECTOR_WIDTH_CHAR..=CL_DEVICE_NATIVE_VECTOR_WIDTH_DOUBLE => {
            answer.value(1_u32)
        }
        CL_DEVICE_MAX_CLOCK_FREQUENCY => answer.value(1000_u32),
        CL_DEVICE_ADDRESS_BITS => answer.value(usize::BITS),
        CL_DEVICE_MAX_MEM_ALLOC_SIZE | CL_DEVICE_GLOBAL_MEM_SIZE => answer.value(memory),
        CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE => answer.value(64_u64 << 10),
        CL_DEVICE_LOCAL_MEM_SIZE => answer.value(Device::LOCAL_MEMORY),
        CL_DEVICE_LOCAL_MEM_TYPE => answer.value(CL_LOCAL),
        CL_DEVICE_GLOBAL_MEM_CACHE_TYPE => answer.value(CL_NONE),
        CL_DEVICE_GLOBAL_MEM_CACHELINE_SIZE => answer.value(zero),
        CL_DEVICE_GLOBAL_MEM_CACHE_SIZE => answer.value(0_u64),
        CL_DEVICE_MAX_CONSTANT_ARGS => answer.value(8_u32),
        CL_DEVICE_MAX_PARAMETER_SIZE => answer.value(4096_usize),
        CL_DEVICE_MEM_BASE_ADDR_ALIGN => answer.value(mem::ALIGNMENT as u32 * 8),
        CL_DEVICE_MIN_DATA_TYPE_ALIGN_SIZE => answer.value(128_u32),
        CL_DEVICE_SINGLE_FP_CONFIG | CL_DEVICE_DOUBLE_FP_CONFIG => {
            answer.value(CL_FP_ROUND_TO_NEAREST | CL_FP_INF_NAN | CL_FP_DENORM | CL_FP_FMA)
        }
        CL_DEVICE_IMAGE2D_MAX_WIDTH | CL_DEVICE_IMAGE2D_MAX_HEIGHT => {
            answer.value(Device::MAX_IMAGE_SIDE)
        }
        CL_DEVICE_IMAGE3D_MAX_WIDTH
        | CL_DEVICE_IMAGE3D_MAX_HEIGHT
        | CL_DEVICE_IMAGE3D_MAX_DEPTH => answer.value(2048_usize),
        CL_DEVICE_IMAGE_MAX_BUFFER_SIZE => answer.value(Device::MAX_IMAGE_SIDE << 4),
        CL_DEVICE_IMAGE_MAX_ARRAY_SIZE => answer.value(2048_usize),
        CL_DEVICE_MAX_READ_IMAGE_ARGS => answer.value(128_u32),
        CL_DEVICE_MAX_WRITE_IMAGE_ARGS => answer.value(64_u32),
        CL_DEVICE_MAX_SAMPLERS => answer.value(16_u32),
        CL_DEVICE_IMAGE_SUPPORT
        | CL_DEVICE_ENDIAN_LITTLE
        | CL_DEVICE_AVAILABLE
        | CL_DEVICE_COMPILER_AVAILABLE
        | CL_DEVICE_LINKER_AVAILABLE
        | CL_DEVICE_PREFERRED_INTEROP_USER_SYNC => answer.value(true),
        CL_DEVICE_ERROR_CORRECTION_SUPPORT | CL_DEVICE_HOST_UNIFIED_MEMORY => answer.value(false),
        CL_DEVICE_PROFILING_TIMER_RESOLUTION => answer.value(1_usize),
        CL_DEVICE_EXECUTION_CAPABILITIES => answer.value(CL_EXEC_KERNEL),
        CL_DEVICE_QUEUE_ON_HOST_PROPERTIES => {
            answer.value(CL_QUEUE_PROFILING_ENABLE | CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)
        }
        CL_DEVICE_PARTITION_MAX_SUB_DEVICES => answer.value(zero),
        CL_DEVICE_PARTITION_PROPERTIES | CL_DEVICE_PARTITION_TYPE => answer.list(&[0_isize]),
        CL_DEVICE_PARTITION_AFFINITY_DOMAIN => answer.value(0_u64),
        _ if spec >= (2, 0) => since_2_0(device, name, answer),
        _ => Err(CL_INVALID_VALUE),
    }
}

/// What later versions ask for; almost all of it says "not supported", as OpenCL 3.0 allows.
fn since_2_0(device: &Device, name: u32, answer: Answer) -> CLResult<()> {
    let version = opencl_sys::make_version;
    let since_3_0 = device.platform.spec >= (3, 0);
    let c_1_2 = version(1, 2, 0);
    match name {
        CL_DEVICE_SVM_CAPABILITIES if options::in_force().svm_system => {
            answer.value(CL_DEVICE_SVM_FINE_GRAIN_SYSTEM)
        }
        CL_DEVICE_SVM_CAPABILITIES => answer.value(0_u64),
        CL_DEVICE_QUEUE_ON_DEVICE_PROPERTIES => {
            answer.value(CL_QUEUE_PROFILING_ENABLE | CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)
        }
        CL_DEVICE_QUEUE_ON_DEVICE_PREFERRED_SIZE => answer.value(16_u32 << 10),
        CL_DEVICE_QUEUE_ON_DEVICE_MAX_SIZE => answer.value(64_u32 << 10),
        CL_DEVICE_MAX_ON_DEVICE_QUEUES => answer.value(4_u32),
        CL_DEVICE_MAX_ON_DEVICE_EVENTS => answer.value(1024_u32),
        CL_DEVICE_MAX_PIPE_ARGS
        | CL_DEVICE_PIPE_MAX_ACTIVE_RESERVATIONS
        | CL_DEVICE_PIPE_MAX_PACKET_SIZE
        | CL_DEVICE_MAX_READ_WRITE_IMAGE_ARGS
        | CL_DEVICE_IMAGE_PITCH_ALIGNMENT
        | CL_DEVICE_IMAGE_BASE_ADDRESS_ALIGNMENT
        | CL_DEVICE_PREFERRED_PLATFORM_ATOMIC_ALIGNMENT
        | CL_DEVICE_PREFERRED_GLOBAL_ATOMIC_ALIGNMENT
        | CL_DEVICE_PREFERRED_LOCAL_ATOMIC_ALIGNMENT
        | CL_DEVICE_MAX_NUM_SUB_GROUPS => answer.value(0_u32),
        CL_DEVICE_MAX_GLOBAL_VARIABLE_SIZE | CL_DEVICE_GLOBAL_VARIABLE_PREFERRED_TOTAL_SIZE => {
            answer.value(0_usize)
        }
        CL_DEVICE_IL_VERSION => answer.text("SPIR-V_1.0"),
        CL_DEVICE_SUB_GROUP_INDEPENDENT_FORWARD_PROGRESS => answer.value(false),
        CL_DEVICE_NUMERIC_VERSION if since_3_0 => answer.value(device.platform.numeric_version()),
        CL_DEVICE_EXTENSIONS_WITH_VERSION if since_3_0 => answer.versions(&Device::extensions()),
        CL_DEVICE_OPENCL_C_ALL_VERSIONS if since_3_0 => answer.versions(&[
            ("OpenCL C", version(1, 0, 0)),
            ("OpenCL C", version(1, 1, 0)),
            ("OpenCL C", c_1_2),
        ]),
        CL_DEVICE_ILS_WITH_VERSION if since_3_0 => answer.versions(&[("SPIR-V", version(1, 0, 0))]),
        CL_DEVICE_BUILT_IN_KERNELS_WITH_VERSION if since_3_0 => {
            answer.versions(&known::BUILT_IN.map(|(name, _)| (name, version(1, 0, 0))))
        }
        CL_DEVICE_OPENCL_C_FEATURES if since_3_0 => answer.versions(&[]),
        CL_DEVICE_ATOMIC_MEMORY_CAPABILITIES | CL_DEVICE_ATOMIC_FENCE_CAPABILITIES if since_3_0 => {
            answer.value(CL_DEVICE_ATOMIC_ORDER_RELAXED | CL_DEVICE_ATOMIC_SCOPE_WORK_GROUP)
        }
        CL_DEVICE_NON_UNIFORM_WORK_GROUP_SUPPORT
        | CL_DEVICE_WORK_GROUP_COLLECTIVE_FUNCTIONS_SUPPORT
        | CL_DEVICE_GENERIC_ADDRESS_SPACE_SUPPORT
        | CL_DEVICE_PIPE_SUPPORT
            if since_3_0 =>
        {
            answer.value(false)
        }
        CL_DEVICE_DEVICE_ENQUEUE_CAPABILITIES if since_3_0 => {
            answer.value(CL_DEVICE_QUEUE_SUPPORTED | CL_DEVICE_QUEUE_REPLACEABLE_DEFAULT)
        }
        CL_DEVICE_PREFERRED_WORK_GROUP_SIZE_MULTIPLE if since_3_0 => answer.value(32_usize),
        CL_DEVICE_LATEST_CONFORMANCE_VERSION_PASSED if since_3_0 => answer.text(""),
        _ => Err(CL_INVALID_VALUE),
    }
}
