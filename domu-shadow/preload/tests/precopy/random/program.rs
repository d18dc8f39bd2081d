//! A random program at work.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::time::Duration;

use super::objects::{COMMON, KINDS, Kind, Object, PIXELS, SIDE, release};
use super::steps::{Step, Write};
use crate::common::*;

pub const SOURCE: &str = "
__kernel void put(__global uint *a, uint v) { a[get_global_id(0)] = v + get_global_id(0); }
__kernel void look(__global const uint *a, uint v, __global uint *b) { b[get_global_id(0)] = a[get_global_id(0)] + v; }
__kernel void sneak(__global const uint *a, uint v) { ((__global uint *)a)[get_global_id(0)] = v - get_global_id(0); }
__kernel void draw(write_only image2d_t a, uint v) {
    write_imageui(a, (int2)(get_global_id(0) % 64, get_global_id(0) / 64 % 64), (uint4)(v + get_global_id(0)));
}";

unsafe extern "C" fn sleep(ms: *mut c_void) {
    // SAFETY: the driver's copy of what `busy` gave.
    std::thread::sleep(Duration::from_millis(unsafe { *ms.cast::<u64>() }));
}

#[repr(C)]
pub struct Native {
    memory: *mut u32,
    value: u32,
}

unsafe extern "C" fn fill(args: *mut c_void) {
    // SAFETY: the driver's copy of what `native` gave, the buffer's address in its place.
    let Native { memory, value } = unsafe { args.cast::<Native>().read() };
    // SAFETY: every buffer has that many bytes.
    unsafe { std::slice::from_raw_parts_mut(memory, PIXELS) }.fill(value);
}

pub struct Program {
    gpu: Gpu,
    queues: [Handle; 2],
    objects: Vec<Object>,
    kernels: [Handle; 4],
    held: Vec<Handle>,
    /// What commands still read.
    sources: Vec<Vec<u32>>,
}

impl Program {
    pub fn new() -> Program {
        let gpu = Gpu::new();
        let program = gpu.built(SOURCE);
        let kernels = [c"put", c"look", c"sneak", c"draw"];
        let kernels = kernels.map(|name| make!(clCreateKernel(program, name.as_ptr())));
        ok!(clReleaseProgram(program));
        let queues = [0, 1].map(|_| make!(clCreateCommandQueue(gpu.context, gpu.device, 0)));
        let objects = KINDS.iter().map(|&kind| Object::new(&gpu, kind)).collect();
        Program {
            gpu,
            queues,
            objects,
            kernels,
            held: Vec::new(),
            sources: Vec::new(),
        }
    }

    pub fn busy(&self, queue: usize, mut ms: u64) {
        let args = (&raw mut ms).cast();
        ok!(clEnqueueNativeKernel(
            self.queues[queue],
            Some(sleep),
            args,
            8,
            0,
            null(),
            null_mut(),
            0,
            null(),
            null_mut()
        ));
        ok!(clFlush(self.queues[queue]));
    }

    pub fn run(&self, queue: Handle, kernel: Handle, mem: Handle, value: u32) {
        set(kernel, 0, &mem);
        set(kernel, 1, &value);
        let items = PIXELS;
        ok!(clEnqueueNDRangeKernel(
            queue,
            kernel,
            1,
            null(),
            &raw const items,
            null(),
            0,
            null(),
            null_mut()
        ));
    }

    pub fn write(&mut self, queue: usize, object: usize, how: Write, value: u32) {
        let queue = self.queues[queue];
        let Object { mem, .. } = self.objects[object];
        let (origin, region) = ([0_usize; 3], [SIDE, SIDE, 1]);
        let (is_image, is_line) = (
            self.objects[object].is_image(),
            self.objects[object].kind == Kind::ImageOfBuffer,
        );
        let region = if is_line { [PIXELS, 1, 1] } else { region };
        let (origin, region) = (origin.as_ptr(), region.as_ptr());
        let [put, look, sneak, draw] = self.kernels;
        match how {
            Write::Kernel if is_line => {}
            Write::Kernel if self.objects[object].is_read_only() && is_image => {}
            Write::Kernel if is_image => self.run(queue, draw, mem, value),
            Write::Kernel if self.objects[object].is_read_only() => {
                set(look, 2, &self.objects[0].mem);
                self.run(queue, look, mem, value);
            }
            Write::Kernel => self.run(queue, put, mem, value),
            Write::Sneak if !is_image && !self.objects[object].is_read_only() => {
                self.run(queue, sneak, mem, value)
            }
            Write::Native if !is_image => self.native(queue, mem, value),
            Write::Map if !is_image => self.map(queue, mem, value),
            // pocl 3.1 crashes.
            Write::Fill if is_line => {}
            Write::Fill if is_image => {
                let color = [value & 0xff; 4];
                let color = color.as_ptr().cast();
                ok!(clEnqueueFillImage(
                    queue,
                    mem,
                    color,
                    origin,
                    region,
                    0,
                    null(),
                    null_mut()
                ));
            }
            Write::Copy if is_image => {
                let from = self.objects[0].mem;
                ok!(clEnqueueCopyBufferToImage(
                    queue,
                    from,
                    mem,
                    0,
                    origin,
                    region,
                    0,
                    null(),
                    null_mut()
                ));
            }
            Write::Copy => {
                // Not from itself.
                let from = self.objects[usize::from(object == 0)].mem;
                ok!(clEnqueueCopyBuffer(
                    queue,
                    from,
                    mem,
                    0,
                    0,
                    COMMON,
                    0,
                    null(),
                    null_mut()
                ));
            }
            Write::FromHost | Write::Sneak | Write::Native | Write::Map if is_image => {
                let from = self.source(value);
                ok!(clEnqueueWriteImage(
                    queue,
                    mem,
                    CL_FALSE,
                    origin,
                    region,
                    0,
                    0,
                    from,
                    0,
                    null(),
                    null_mut()
                ));
            }
            Write::FromHost | Write::Sneak => {
                let from = self.source(value);
                ok!(clEnqueueWriteBuffer(
                    queue,
                    mem,
                    CL_FALSE,
                    0,
                    COMMON,
                    from,
                    0,
                    null(),
                    null_mut()
                ));
            }
            Write::Fill => self.fill_buffer(queue, mem, value, null_mut()),
            Write::Native | Write::Map => unreachable!("only of buffers, above"),
        }
        ok!(clFlush(queue));
    }

    pub fn source(&mut self, value: u32) -> *const c_void {
        self.sources
            .push((0..PIXELS as u32).map(|i| value ^ i).collect());
        self.sources.last().expect("just stored").as_ptr().cast()
    }

    pub fn fill_buffer(&self, queue: Handle, mem: Handle, value: u32, wait: Handle) {
        let pattern = (&raw const value).cast();
        let list = [wait];
        let (count, list) = if wait.is_null() {
            (0, null())
        } else {
            (1, list.as_ptr())
        };
        ok!(clEnqueueFillBuffer(
            queue,
            mem,
            pattern,
            4,
            0,
            COMMON,
            count,
            list,
            null_mut()
        ));
    }

    pub fn native(&self, queue: Handle, mem: Handle, value: u32) {
        let mut args = Native {
            memory: null_mut(),
            value,
        };
        let mut place = (&raw const args.memory).cast::<c_void>();
        let (objects, places) = (&raw const mem, &raw mut place);
        let args = (&raw mut args).cast();
        ok!(clEnqueueNativeKernel(
            queue,
            Some(fill),
            args,
            size_of::<Native>(),
            1,
            objects,
            places,
            0,
            null(),
            null_mut()
        ));
    }

    pub fn map(&self, queue: Handle, mem: Handle, value: u32) {
        let flags = CL_MAP_WRITE_INVALIDATE_REGION;
        let memory = make!(clEnqueueMapBuffer(
            queue,
            mem,
            CL_TRUE,
            flags,
            0,
            COMMON,
            0,
            null(),
            null_mut()
        ));
        // SAFETY: mapped for writing, and this is the only thread.
        unsafe { std::slice::from_raw_parts_mut(memory.cast::<u32>(), PIXELS) }.fill(value);
        ok!(clEnqueueUnmapMemObject(
            queue,
            mem,
            memory,
            0,
            null(),
            null_mut()
        ));
    }

    pub fn step(&mut self, step: &Step) {
        match *step {
            // Native kernels behind a user event keep a program from moving, and a blocking map would wait for it.
            Step::Busy { .. }
            | Step::Write {
                how: Write::Map | Write::Native,
                ..
            } if !self.held.is_empty() => {}
            Step::Busy { queue, ms } => self.busy(queue, ms),
            Step::Write {
                queue,
                object,
                how,
                value,
            } => self.write(queue, object, how, value),
            Step::Hold {
                queue,
                object,
                value,
            } if !self.objects[object].is_image() => {
                let event = make!(clCreateUserEvent(self.gpu.context));
                self.fill_buffer(self.queues[queue], self.objects[object].mem, value, event);
                ok!(clFlush(self.queues[queue]));
                self.held.push(event);
            }
            Step::Hold { .. } => {}
            Step::LetGo => self.let_go(),
            Step::Requeue { queue } => {
                ok!(clReleaseCommandQueue(self.queues[queue]));
                self.queues[queue] =
                    make!(clCreateCommandQueue(self.gpu.context, self.gpu.device, 0));
            }
            Step::Renew { object } => {
                let kind = self.objects[object].kind;
                let new = Object::new(&self.gpu, kind);
                self.finish();
                release(std::mem::replace(&mut self.objects[object], new));
            }
            Step::Nap { ms } => std::thread::sleep(Duration::from_millis(ms)),
            Step::Round | Step::Stop => {}
        }
    }

    pub fn let_go(&mut self) {
        for event in self.held.drain(..) {
            ok!(clSetUserEventStatus(event, CL_COMPLETE));
            ok!(clReleaseEvent(event));
        }
    }

    pub fn finish(&mut self) {
        self.let_go();
        self.queues.iter().for_each(|&queue| ok!(clFinish(queue)));
        self.sources.clear();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.finish();
        self.objects.drain(..).for_each(release);
        self.kernels
            .iter()
            .for_each(|&kernel| ok!(clReleaseKernel(kernel)));
        self.queues
            .iter()
            .for_each(|&queue| ok!(clReleaseCommandQueue(queue)));
    }
}
