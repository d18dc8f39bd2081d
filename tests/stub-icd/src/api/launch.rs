//! Enqueueing kernels.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_COMMAND_NDRANGE_KERNEL, CL_COMMAND_TASK, CL_INVALID_GLOBAL_WORK_SIZE, CL_INVALID_OPERATION,
    CL_INVALID_WORK_DIMENSION, CL_INVALID_WORK_GROUP_SIZE, CL_INVALID_WORK_ITEM_SIZE, cl_event,
    cl_mem,
};

use crate::call::entry_points;
use crate::core::command::Order;
use crate::core::device::Device;
use crate::core::enqueue::Enqueue;
use crate::core::kernel::Kernel;
use crate::core::queue::Queue;
use crate::ffi::{CLResult, HostOut, In, Out};
use crate::handle;
use crate::kernels::run::{self, Range};

type NativeKernel = Option<unsafe extern "C" fn(*mut c_void)>;

fn launch(
    queue: &Arc<Queue>,
    kernel: &Kernel,
    range: Range,
    command: u32,
    enqueue: Enqueue,
) -> CLResult<()> {
    queue.context.same(&kernel.program.context, "the kernel")?;
    let (signature, arguments) = (kernel.signature.clone(), kernel.arguments()?);
    if signature.group.is_some_and(|group| group != range.local) {
        return Err(CL_INVALID_WORK_GROUP_SIZE);
    }
    // The kernel may be released before its command runs: the command holds what it needs, its program too.
    let program = kernel.program.clone();
    let work = move || {
        let done = run::run(&signature, &arguments, range);
        drop(program);
        done
    };
    enqueue.submit(queue, command, Order::Free, Box::new(work))
}

/// The work-items of a launch; `sizes` are offset, global and local size.
pub fn range_of(kernel: &Kernel, work_dim: u32, sizes: [In<usize>; 3]) -> CLResult<Range> {
    let dims = work_dim as usize;
    if !(1..=3).contains(&dims) {
        return Err(CL_INVALID_WORK_DIMENSION);
    }
    let three = |list: In<usize>, rest: usize| {
        list.list(dims).map(|mut list| {
            list.resize(3, rest);
            [list[0], list[1], list[2]]
        })
    };
    let [global_offset, global_size, local_size] = sizes;
    let global = three(global_size, 1).ok_or(CL_INVALID_GLOBAL_WORK_SIZE)?;
    let offset = three(global_offset, 0).unwrap_or_default();
    let local = match three(local_size, 1) {
        None => kernel.signature.group.unwrap_or([1; 3]),
        Some(local) => local,
    };
    if local
        .iter()
        .any(|&size| size == 0 || size > Device::MAX_WORK_GROUP_SIZE)
    {
        return Err(CL_INVALID_WORK_ITEM_SIZE);
    }
    let fits = (0..3).all(|at| global[at] % local[at] == 0);
    if !fits || local.iter().product::<usize>() > Device::MAX_WORK_GROUP_SIZE {
        return Err(CL_INVALID_WORK_GROUP_SIZE);
    }
    Ok(Range {
        offset,
        global,
        local,
    })
}

entry_points! {
    fn clEnqueueNDRangeKernel(
        queue: *mut c_void,
        kernel: *mut c_void,
        work_dim: u32,
        global_offset: In<usize>,
        global_size: In<usize>,
        local_size: In<usize>,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let kernel = handle::get::<Kernel>(kernel)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        let range = range_of(&kernel, work_dim, [global_offset, global_size, local_size])?;
        launch(&queue, &kernel, range, CL_COMMAND_NDRANGE_KERNEL, enqueue)
    }

    // `cl_khr_suggested_local_work_size`: what a kernel asks for, else a power of two that divides the first size.
    fn clGetKernelSuggestedLocalWorkSizeKHR(
        queue: *mut c_void,
        kernel: *mut c_void,
        work_dim: u32,
        global_offset: In<usize>,
        global_size: In<usize>,
        suggested: Out<usize>,
    ) {
        handle::get::<Queue>(queue)?.of_host()?;
        let kernel = handle::get::<Kernel>(kernel)?;
        let _ = global_offset;
        let dims = work_dim as usize;
        if !(1..=3).contains(&dims) {
            return Err(CL_INVALID_WORK_DIMENSION);
        }
        let global = global_size.list(dims).ok_or(CL_INVALID_GLOBAL_WORK_SIZE)?;
        let free = [1 << global[0].trailing_zeros().min(6), 1, 1];
        suggested.set_list(&kernel.signature.group.unwrap_or(free)[..dims]);
        Ok(())
    }

    fn clEnqueueTask(
        queue: *mut c_void,
        kernel: *mut c_void,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let kernel = handle::get::<Kernel>(kernel)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        let one = Range { offset: [0; 3], global: [1; 3], local: [1; 3] };
        launch(&queue, &kernel, one, CL_COMMAND_TASK, enqueue)
    }

    // "`CL_INVALID_OPERATION` if the device associated with command_queue cannot execute the native kernel": a GPU.
    fn clEnqueueNativeKernel(
        queue: *mut c_void,
        function: NativeKernel,
        args: HostOut,
        size: usize,
        num_mem_objects: u32,
        mem_list: In<cl_mem>,
        places: Out<*const c_void>,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        handle::get::<Queue>(queue)?;
        let _ = (function, args, size, num_mem_objects, mem_list, places, num_events, events, event);
        Err(CL_INVALID_OPERATION)
    }
}
