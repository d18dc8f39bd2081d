//! Random programs, of every kind of object with short and long commands, captured at any moment: what was sent is what
//! the device has, to the byte.
//!
//! `XL_GPU_RANDOM_PROGRAMS` makes it longer.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::time::Duration;

use proptest::prelude::*;
use runtime::mover::{self, Capture};

use crate::common::moving::alone;
use crate::common::*;
use crate::image::Image;
use crate::rounds::{stop, take_with};

const SOURCE: &str = "
__kernel void put(__global uint *a, uint v) { a[get_global_id(0)] = v + get_global_id(0); }
__kernel void look(__global const uint *a, uint v, __global uint *b) { b[get_global_id(0)] = a[get_global_id(0)] + v; }
__kernel void sneak(__global const uint *a, uint v) { ((__global uint *)a)[get_global_id(0)] = v - get_global_id(0); }
__kernel void draw(write_only image2d_t a, uint v) {
    write_imageui(a, (int2)(get_global_id(0) % 64, get_global_id(0) / 64 % 64), (uint4)(v + get_global_id(0)));
}";

/// Pixels of an image are four bytes.
const SIDE: usize = 64;
const PIXELS: usize = SIDE * SIDE;
/// Bytes of the smallest object, which every command works on.
const COMMON: usize = 4 * PIXELS;
const LARGE: usize = 512 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Buffer,
    /// Too small to be compared.
    Small,
    ReadOnly,
    SmallReadOnly,
    WriteOnly,
    /// Over memory of the program's.
    UseHost,
    AllocHost,
    /// The middle of a buffer.
    Sub,
    Image,
    ReadOnlyImage,
    /// An image over the contents of a buffer.
    ImageOfBuffer,
}

const KINDS: [Kind; 11] = [
    Kind::Buffer,
    Kind::Small,
    Kind::ReadOnly,
    Kind::SmallReadOnly,
    Kind::WriteOnly,
    Kind::UseHost,
    Kind::AllocHost,
    Kind::Sub,
    Kind::Image,
    Kind::ReadOnlyImage,
    Kind::ImageOfBuffer,
];

/// What writes an object.
#[derive(Clone, Copy, Debug)]
enum Write {
    Fill,
    FromHost,
    Copy,
    Kernel,
    /// A kernel whose signature says that it only reads.
    Sneak,
    Native,
    Map,
}

#[derive(Clone, Debug)]
enum Step {
    /// The queue is busy for so many milliseconds; what comes behind waits.
    Busy {
        queue: usize,
        ms: u64,
    },
    Write {
        queue: usize,
        object: usize,
        how: Write,
        value: u32,
    },
    /// The same, behind a user event that is set later.
    Hold {
        queue: usize,
        object: usize,
        value: u32,
    },
    LetGo,
    /// Another queue in its place; the old one's commands run on.
    Requeue {
        queue: usize,
    },
    /// Another object in its place.
    Renew {
        object: usize,
    },
    Nap {
        ms: u64,
    },
    /// A round of the capture, which begins with it.
    Round,
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    let queue = 0..2_usize;
    let object = 0..KINDS.len();
    let how = prop::sample::select(
        &[
            Write::Fill,
            Write::FromHost,
            Write::Copy,
            Write::Kernel,
            Write::Sneak,
            Write::Native,
            Write::Map,
        ][..],
    );
    prop_oneof![
        3 => (queue.clone(), 20..150_u64).prop_map(|(queue, ms)| Step::Busy { queue, ms }),
        12 => (queue.clone(), object.clone(), how, any::<u32>())
            .prop_map(|(queue, object, how, value)| Step::Write { queue, object, how, value }),
        2 => (queue.clone(), object.clone(), any::<u32>())
            .prop_map(|(queue, object, value)| Step::Hold { queue, object, value }),
        2 => Just(Step::LetGo),
        1 => queue.prop_map(|queue| Step::Requeue { queue }),
        1 => object.prop_map(|object| Step::Renew { object }),
        1 => (1..60_u64).prop_map(|ms| Step::Nap { ms }),
        5 => Just(Step::Round),
        2 => Just(Step::Stop),
    ]
}

struct Object {
    kind: Kind,
    mem: Handle,
    /// What it was made from.
    parent: Option<Handle>,
    _host: Vec<u8>,
}

impl Object {
    fn new(gpu: &Gpu, kind: Kind) -> Object {
        let mut host = Vec::new();
        let mut parent = None;
        let mem = match kind {
            Kind::Buffer => gpu.buffer(CL_MEM_READ_WRITE, LARGE),
            Kind::Small => gpu.buffer(CL_MEM_READ_WRITE, COMMON),
            Kind::ReadOnly => gpu.buffer(CL_MEM_READ_ONLY, LARGE),
            Kind::SmallReadOnly => gpu.buffer(CL_MEM_READ_ONLY, COMMON),
            Kind::WriteOnly => gpu.buffer(CL_MEM_WRITE_ONLY, LARGE),
            Kind::AllocHost => gpu.buffer(CL_MEM_ALLOC_HOST_PTR, LARGE),
            Kind::UseHost => {
                host = vec![0; LARGE];
                let memory = host.as_mut_ptr().cast();
                make!(clCreateBuffer(
                    gpu.context,
                    CL_MEM_USE_HOST_PTR,
                    LARGE,
                    memory
                ))
            }
            Kind::Sub => {
                let whole = *parent.insert(gpu.buffer(CL_MEM_READ_WRITE, LARGE));
                let region = cl_buffer_region {
                    origin: LARGE / 4,
                    size: COMMON,
                };
                let info = (&raw const region).cast();
                make!(clCreateSubBuffer(
                    whole,
                    0,
                    CL_BUFFER_CREATE_TYPE_REGION,
                    info
                ))
            }
            Kind::Image => image(gpu, CL_MEM_READ_WRITE, null_mut()),
            Kind::ReadOnlyImage => image(gpu, CL_MEM_READ_ONLY, null_mut()),
            Kind::ImageOfBuffer => {
                let whole = *parent.insert(gpu.buffer(CL_MEM_READ_WRITE, LARGE));
                image(gpu, CL_MEM_READ_WRITE, whole)
            }
        };
        Object {
            kind,
            mem,
            parent,
            _host: host,
        }
    }

    fn is_image(&self) -> bool {
        matches!(
            self.kind,
            Kind::Image | Kind::ReadOnlyImage | Kind::ImageOfBuffer
        )
    }

    /// Kernels may not write it.
    fn is_read_only(&self) -> bool {
        matches!(
            self.kind,
            Kind::ReadOnly | Kind::SmallReadOnly | Kind::ReadOnlyImage
        )
    }
}

/// Of its own, or as wide as the first bytes of `buffer`.
fn image(gpu: &Gpu, flags: u64, buffer: Handle) -> Handle {
    let format = cl_image_format {
        image_channel_order: CL_RGBA,
        image_channel_data_type: CL_UNSIGNED_INT8,
    };
    // SAFETY: plain data, for which zeros are what the specification asks of unused members.
    let mut desc: cl_image_desc = unsafe { std::mem::zeroed() };
    desc.image_type = if buffer.is_null() {
        CL_MEM_OBJECT_IMAGE2D
    } else {
        CL_MEM_OBJECT_IMAGE1D_BUFFER
    };
    desc.image_width = if buffer.is_null() { SIDE } else { PIXELS };
    desc.image_height = if buffer.is_null() { SIDE } else { 0 };
    desc.buffer = buffer;
    make!(clCreateImage(
        gpu.context,
        flags,
        &raw const format,
        &raw const desc,
        null_mut()
    ))
}

unsafe extern "C" fn sleep(ms: *mut c_void) {
    // SAFETY: the driver's copy of what `busy` gave.
    std::thread::sleep(Duration::from_millis(unsafe { *ms.cast::<u64>() }));
}

#[repr(C)]
struct Native {
    memory: *mut u32,
    value: u32,
}

unsafe extern "C" fn fill(args: *mut c_void) {
    // SAFETY: the driver's copy of what `native` gave, the buffer's address in its place.
    let Native { memory, value } = unsafe { args.cast::<Native>().read() };
    // SAFETY: every buffer has that many bytes.
    unsafe { std::slice::from_raw_parts_mut(memory, PIXELS) }.fill(value);
}

struct Program {
    gpu: Gpu,
    queues: [Handle; 2],
    objects: Vec<Object>,
    kernels: [Handle; 4],
    held: Vec<Handle>,
    /// What commands still read.
    sources: Vec<Vec<u32>>,
}

impl Program {
    fn new() -> Program {
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

    fn busy(&self, queue: usize, mut ms: u64) {
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

    fn run(&self, queue: Handle, kernel: Handle, mem: Handle, value: u32) {
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

    fn write(&mut self, queue: usize, object: usize, how: Write, value: u32) {
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

    fn source(&mut self, value: u32) -> *const c_void {
        self.sources
            .push((0..PIXELS as u32).map(|i| value ^ i).collect());
        self.sources.last().expect("just stored").as_ptr().cast()
    }

    fn fill_buffer(&self, queue: Handle, mem: Handle, value: u32, wait: Handle) {
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

    fn native(&self, queue: Handle, mem: Handle, value: u32) {
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

    fn map(&self, queue: Handle, mem: Handle, value: u32) {
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

    fn step(&mut self, step: &Step) {
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

    fn let_go(&mut self) {
        for event in self.held.drain(..) {
            ok!(clSetUserEventStatus(event, CL_COMPLETE));
            ok!(clReleaseEvent(event));
        }
    }

    fn finish(&mut self) {
        self.let_go();
        self.queues.iter().for_each(|&queue| ok!(clFinish(queue)));
        self.sources.clear();
    }
}

fn release(object: Object) {
    ok!(clReleaseMemObject(object.mem));
    if let Some(parent) = object.parent {
        ok!(clReleaseMemObject(parent));
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

/// Runs the program; captures begin and end where its steps say so.
fn play(steps: &[Step], compares: bool) {
    let _alone = alone();
    let mut program = Program::new();
    let mut capture: Option<(Capture, Image)> = None;
    for (at, step) in steps.iter().chain([&Step::Stop]).enumerate() {
        program.step(step);
        if matches!(step, Step::Round | Step::Stop) {
            let begin = || (mover::begin().unwrap(), Image::new(at as u64, 4));
            let (capture, image) = capture.get_or_insert_with(begin);
            if matches!(step, Step::Round) {
                take_with(capture, image, compares);
            }
        }
        if matches!(step, Step::Stop)
            && let Some((stopping, mut image)) = capture.take()
        {
            drop(stop(stopping, &mut image));
        }
    }
}

/// What was lost: commands enqueued before the capture, at work when its first round has read everything.
#[test]
fn commands_of_before_the_capture_are_waited_for() {
    for how in [Write::Copy, Write::Fill, Write::FromHost, Write::Kernel] {
        let write = |value| {
            (0..KINDS.len()).map(move |object| Step::Write {
                queue: 0,
                object,
                how,
                value,
            })
        };
        // The marks that every object is born with are taken by a first capture.
        let steps = write(1).chain([Step::Stop, Step::Busy { queue: 0, ms: 300 }]);
        let steps = steps
            .chain(write(2))
            .chain([Step::Round, Step::Nap { ms: 300 }, Step::Round]);
        let steps: Vec<_> = steps.collect();
        // Building what compares would outlast them.
        play(&steps, false);
    }
}

fn programs() -> u32 {
    let given = std::env::var("XL_GPU_RANDOM_PROGRAMS");
    given.map_or(8, |number| number.parse().expect("a number of programs"))
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::with_cases(programs()) })]
    #[test]
    fn what_was_sent_is_what_is_there(steps in prop::collection::vec(step(), 10..50), compares in any::<bool>()) {
        play(&steps, compares);
    }
}
