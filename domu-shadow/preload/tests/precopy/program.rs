//! A program that writes all the time, in every way there is.

use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::*;
use crate::rig::Random;

const SOURCE: &str = "
uint mix(uint x) { x ^= x >> 16; x *= 0x7feb352du; x ^= x >> 15; x *= 0x846ca68bu; return x ^ (x >> 16); }
/* Writes here and there; now and then a whole chunk of zeros. */
__kernel void scribble(__global uint *a, const uint words, const uint seed, const uint rounds)
{
    for (uint i = 0; i < rounds; i++) {
        const uint r = mix(seed + 7919u * (uint)get_global_id(0) + i);
        const uint at = r % words;
        if ((r >> 24) < 3u)
            for (uint j = at & ~1023u; j < words && j < (at | 1023u) + 1u; j++)
                a[j] = 0;
        else
            a[at] = mix(r);
    }
}
/* The same, without its signature's knowing. */
__kernel void sneak(__global const uint *a, const uint words, const uint seed, const uint rounds)
{
    for (uint i = 0; i < rounds; i++)
        ((__global uint *)a)[mix(seed + 31u * (uint)get_global_id(0) + i) % words] = seed ^ i;
}";

/// What the program's threads share.
pub struct Shared {
    pub gpu: Gpu,
    program: Handle,
    /// Live as long as the program, used by all threads at once.
    pub buffers: Vec<(Handle, usize, u64)>,
    pub ended: AtomicBool,
}

// SAFETY: OpenCL's objects may be used from any thread; each thread has its own kernels and queues.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Buffers of the given flags and numbers of words.
    pub fn new(buffers: &[(u64, usize)]) -> Shared {
        let gpu = Gpu::new();
        let program = gpu.program(SOURCE);
        let options = c"-cl-kernel-arg-info".as_ptr();
        ok!(clBuildProgram(
            program,
            0,
            null(),
            options,
            None,
            null_mut()
        ));
        let buffers = buffers.iter().map(|&(flags, words)| {
            let buffer = gpu.buffer(flags, 4 * words);
            let pattern = 0x5a5a_1234_u32;
            let value = (&raw const pattern).cast();
            ok!(clEnqueueFillBuffer(
                gpu.queue,
                buffer,
                value,
                4,
                0,
                4 * words,
                0,
                null(),
                null_mut()
            ));
            (buffer, words, flags)
        });
        let buffers = buffers.collect();
        gpu.finish();
        Shared {
            program,
            buffers,
            ended: AtomicBool::new(false),
            gpu,
        }
    }

    fn kernel(&self, name: &std::ffi::CStr) -> Handle {
        make!(clCreateKernel(self.program, name.as_ptr()))
    }

    /// One thread's work until the program ends.
    pub fn write_all_the_time(&self, seed: u64, properties: u64) {
        let mut random = Random::new(seed);
        let mut queue = make!(clCreateCommandQueue(
            self.gpu.context,
            self.gpu.device,
            properties
        ));
        let kernels = [c"scribble", c"sneak"].map(|name| self.kernel(name));
        while !self.ended.load(Ordering::Relaxed) {
            let which = random.below(self.buffers.len() as u64) as usize;
            let (buffer, words, flags) = self.buffers[which];
            match random.below(12) {
                0..=4 => self.launch(queue, kernels[0], buffer, words, &mut random),
                5 | 6 => self.launch(queue, kernels[1], buffer, words, &mut random),
                // Over host memory the program may write to a map while its calls wait.
                7 if flags & CL_MEM_ALLOC_HOST_PTR == 0 => map(queue, buffer, words, &mut random),
                7 | 8 => write(queue, buffer, words, &mut random),
                9 => self.part(queue, kernels[0], buffer, words, &mut random),
                10 => self.passing(queue, kernels[0], &mut random),
                _ => {
                    // Its commands go on without it.
                    self.launch(queue, kernels[1], buffer, words, &mut random);
                    ok!(clReleaseCommandQueue(queue));
                    queue = make!(clCreateCommandQueue(
                        self.gpu.context,
                        self.gpu.device,
                        properties
                    ));
                }
            }
            if random.below(4) == 0 {
                ok!(clFinish(queue));
            }
        }
        ok!(clFinish(queue));
        for kernel in kernels {
            ok!(clReleaseKernel(kernel));
        }
        ok!(clReleaseCommandQueue(queue));
    }

    fn launch(
        &self,
        queue: Handle,
        kernel: Handle,
        buffer: Handle,
        words: usize,
        random: &mut Random,
    ) {
        set(kernel, 0, &buffer);
        set(kernel, 1, &(words as u32));
        set(kernel, 2, &(random.next() as u32));
        set(kernel, 3, &(1 + random.below(60) as u32));
        let items = 1 + random.below(3) as usize;
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

    /// Through a sub-buffer that is released at once.
    fn part(
        &self,
        queue: Handle,
        kernel: Handle,
        buffer: Handle,
        words: usize,
        random: &mut Random,
    ) {
        let region = cl_buffer_region {
            origin: 4096 * random.below(words as u64 / 2048) as usize,
            size: 4096,
        };
        let info = (&raw const region).cast();
        let part = make!(clCreateSubBuffer(
            buffer,
            0,
            CL_BUFFER_CREATE_TYPE_REGION,
            info
        ));
        self.launch(queue, kernel, part, 1024, random);
        ok!(clReleaseMemObject(part));
    }

    /// A buffer that is there for one command, or a little longer.
    fn passing(&self, queue: Handle, kernel: Handle, random: &mut Random) {
        let words = 1 + random.below(30_000) as usize;
        let buffer = self.gpu.buffer(CL_MEM_READ_WRITE, 4 * words);
        self.launch(queue, kernel, buffer, words, random);
        if random.below(2) == 0 {
            ok!(clFinish(queue));
            std::thread::sleep(std::time::Duration::from_millis(random.below(30)));
        }
        ok!(clReleaseMemObject(buffer));
    }

    pub fn release(self) {
        for (buffer, _, _) in &self.buffers {
            ok!(clReleaseMemObject(*buffer));
        }
        ok!(clReleaseProgram(self.program));
    }
}

fn write(queue: Handle, buffer: Handle, words: usize, random: &mut Random) {
    let bytes = vec![random.next() as u8; 1 + random.below(9000) as usize];
    let at = random.below((4 * words - bytes.len()) as u64) as usize;
    let from = bytes.as_ptr().cast();
    ok!(clEnqueueWriteBuffer(
        queue,
        buffer,
        CL_TRUE,
        at,
        bytes.len(),
        from,
        0,
        null(),
        null_mut()
    ));
}

fn map(queue: Handle, buffer: Handle, words: usize, random: &mut Random) {
    let len = 1 + random.below(9000) as usize;
    let at = random.below((4 * words - len) as u64) as usize;
    let flags = if random.below(2) == 0 {
        CL_MAP_WRITE
    } else {
        CL_MAP_WRITE_INVALIDATE_REGION
    };
    let mapped = make!(clEnqueueMapBuffer(
        queue,
        buffer,
        CL_TRUE,
        flags,
        at,
        len,
        0,
        null(),
        null_mut()
    ));
    // SAFETY: `len` bytes are mapped for writing until they are unmapped below.
    unsafe { mapped.cast::<u8>().write_bytes(random.next() as u8, len) };
    ok!(clEnqueueUnmapMemObject(
        queue,
        buffer,
        mapped,
        0,
        null(),
        null_mut()
    ));
}
