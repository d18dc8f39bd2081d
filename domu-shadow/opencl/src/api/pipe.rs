//! Pipes. What is in one cannot be read by the host, so a process that has some cannot be moved.

use opencl_sys::{
    CL_INVALID_MEM_OBJECT, cl_context, cl_mem, cl_mem_flags, cl_pipe_info, cl_pipe_properties,
};

use super::entry::entry;
use crate::core::{Context, Mem, handle};
use crate::driver::dispatch::{ask, create};

entry! {
    fn clCreatePipe(
        _caller,
        context: cl_context,
        flags: cl_mem_flags,
        packet_size: u32,
        packets: u32,
        properties: *const cl_pipe_properties,
    ) -> object {
        let context = handle::share::<Context>(context)?;
        let real = context.real.get();
        let pipe = create!(real, clCreatePipe(real, flags, packet_size, packets, properties))?;
        Ok(handle::publish(Mem::of_pipe(context, flags, pipe)))
    }

    fn clGetPipeInfo(caller, answer, pipe: cl_mem, parameter: cl_pipe_info) -> info {
        let mem = handle::borrow::<Mem>(caller, pipe)?;
        if mem.is_buffer() || mem.image().is_some() {
            return Err(CL_INVALID_MEM_OBJECT);
        }
        let real = mem.real.get();
        answer.driver(ask!(real, clGetPipeInfo(real, parameter)))
    }
}
