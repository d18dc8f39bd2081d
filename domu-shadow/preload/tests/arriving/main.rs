//! The program runs while its contents arrive: what it touches waits, the rest goes on, and no byte is wrong.

#[path = "../common/mod.rs"]
mod common;
mod model;

use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::moving::{Store, alone, there_and_back, there_and_nearly_back};
use common::{COUNT, Gpu, Handle, make, ok, set};
use opencl_sys::*;
use runtime::mover::{self, MoveError, PostCopy};

/// Longer than any of it takes unless something hangs.
const AGES: Duration = Duration::from_secs(60);

/// The object with `bytes` bytes: the tests' buffers all differ in size.
fn object_of(store: &Store, bytes: usize) -> u64 {
    let mut fitting = store.0.iter().filter(|(_, content)| content.len() == bytes);
    let (object, _) = fitting.next().expect("it was captured");
    assert!(fitting.next().is_none());
    *object
}

/// Brings what is asked for until `enough`; one piece in ten is lost on its way, as when a link breaks.
fn bring(arriving: &mut PostCopy, store: &Store, dice: &mut Dice, enough: impl Fn() -> bool) {
    let since = Instant::now();
    while !enough() {
        assert!(since.elapsed() < AGES, "it does not come to an end");
        let Some(piece) = arriving.next_range(1 + dice.below(4096) as u64) else {
            std::thread::yield_now();
            continue;
        };
        if dice.below(10) == 0 {
            arriving.rewind();
            continue;
        }
        let transfer = arriving.start_write(&piece, store.of(&piece)).unwrap();
        transfer.wait().unwrap();
        arriving.arrived(&piece);
    }
}

/// Waits until somebody waits for `object`.
fn until_wanted(arriving: &mut PostCopy, object: u64) {
    let since = Instant::now();
    loop {
        assert!(since.elapsed() < AGES, "nobody waits for it");
        let piece = arriving.next_range(1);
        arriving.rewind();
        if piece.is_some_and(|piece| piece.object == object) {
            return;
        }
        std::thread::yield_now();
    }
}

/// A kernel waits for its own buffers; they come first, in the middle of a larger one, and nobody else waits.
#[test]
fn what_is_wanted_comes_first() {
    let _alone = alone();
    let gpu = Gpu::new();
    let big = gpu.buffer(CL_MEM_READ_WRITE, 1 << 20);
    let small = gpu.buffer(CL_MEM_READ_WRITE, 4000);
    let kernel = gpu.kernel(COUNT, "count");
    gpu.write(big, 0, &vec![7_u32; 1 << 18]);
    gpu.write(small, 0, &[1_u32; 1000]);
    set(kernel, 0, &small);
    let (mut arriving, store) = there_and_nearly_back(1);
    let (big_id, small_id) = (object_of(&store, 1 << 20), object_of(&store, 4000));

    // What names no absent object goes on at once.
    gpu.finish();
    let fresh = gpu.buffer(CL_MEM_READ_WRITE, 64);
    gpu.write(fresh, 0, &[5_u8; 64]);
    assert_eq!(gpu.read::<u8>(fresh, 0, 64), [5; 64]);
    assert!(matches!(mover::begin(), Err(MoveError::Busy)));

    // The large one has begun.
    let piece = arriving.next_range(4096).unwrap();
    assert_eq!(piece.object, big_id);
    let under_way = arriving.start_write(&piece, store.of(&piece)).unwrap();
    let done = AtomicBool::new(false);
    let named = kernel as usize;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            gpu.run(named as Handle, 1000);
            gpu.finish();
            done.store(true, Ordering::SeqCst);
        });
        // rewind() would ask for the piece under way again, so it ends first.
        under_way.wait().unwrap();
        arriving.arrived(&piece);
        until_wanted(&mut arriving, small_id);
        assert!(!done.load(Ordering::SeqCst));
        let first = arriving.next_range(u64::MAX).unwrap();
        assert_eq!((first.object, first.offset, first.len), (small_id, 0, 4000));
        let transfer = arriving.start_write(&first, store.of(&first)).unwrap();
        transfer.wait().unwrap();
        assert!(
            !done.load(Ordering::SeqCst),
            "it ran before its buffer was said to be there"
        );
        arriving.arrived(&first);
        let since = Instant::now();
        while !done.load(Ordering::SeqCst) {
            assert!(since.elapsed() < AGES, "its buffer is there");
            std::thread::yield_now();
        }
    });
    assert_eq!(gpu.read::<u32>(small, 0, 1000), [2; 1000]);
    store.give_back(arriving);
    assert_eq!(gpu.read::<u32>(big, 0, 1 << 18), vec![7; 1 << 18]);
    // And it can be moved again.
    there_and_back(1);
    assert_eq!(gpu.read::<u32>(small, 0, 1000), [2; 1000]);
    for buffer in [big, small, fresh] {
        ok!(clReleaseMemObject(buffer));
    }
    ok!(clReleaseKernel(kernel));
}

/// Buffers used while the capture ran come in the order of their last use, before those that were not.
#[test]
fn what_was_used_last_comes_first() {
    let _alone = alone();
    let gpu = Gpu::new();
    let sizes = [400, 800, 1200, 1600];
    let buffers = sizes.map(|bytes| gpu.buffer(CL_MEM_READ_WRITE, bytes));
    let kernel = gpu.kernel(COUNT, "count");
    for (buffer, bytes) in buffers.iter().zip(sizes) {
        gpu.write(*buffer, 0, &vec![0_u8; bytes]);
    }
    let mut capture = mover::begin().unwrap();
    let round = capture.round();
    set(kernel, 0, &buffers[2]);
    gpu.run(kernel, 100);
    gpu.read::<u8>(buffers[0], 0, 1);
    gpu.finish();
    let ids = sizes.map(|bytes| {
        let mut regions = round.regions.iter();
        regions
            .find(|r| r.object_size == bytes as u64)
            .unwrap()
            .object
    });
    let quiesced = capture.quiesce(AGES).map_err(|(_, e)| e).unwrap();
    let detached = quiesced.unload().map_err(|(_, e)| e).unwrap();
    let (mut arriving, _) = detached.reload().map_err(|(_, e)| e).unwrap();
    let mut order = Vec::new();
    while let Some(piece) = arriving.next_range(u64::MAX) {
        order.push(piece.object);
        arriving.start_zero(&piece).unwrap().wait().unwrap();
        arriving.arrived(&piece);
    }
    arriving.finish();
    order.retain(|id| ids.contains(id));
    assert_eq!(order, [ids[0], ids[2], ids[1], ids[3]]);
    for (buffer, bytes) in buffers.iter().zip(sizes) {
        assert!(
            gpu.read::<u8>(*buffer, 0, bytes)
                .iter()
                .all(|byte| *byte == 0)
        );
        ok!(clReleaseMemObject(*buffer));
    }
    ok!(clReleaseKernel(kernel));
}

/// Objects can be asked about, made from absent ones and released while their contents are away; a mapped pointer is
/// the program's throughout.
#[test]
fn absent_objects_are_objects() {
    let _alone = alone();
    let gpu = Gpu::new();
    let (kept, released, mapped) = (
        gpu.buffer(CL_MEM_READ_WRITE, 8192),
        gpu.buffer(CL_MEM_READ_WRITE, 12288),
        gpu.buffer(CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, 4096),
    );
    gpu.write(kept, 0, &(0..8192).map(|n| n as u8).collect::<Vec<_>>());
    gpu.write(released, 0, &[1_u8; 12288]);
    gpu.write(mapped, 0, &[2_u8; 4096]);
    let flags = CL_MAP_READ | CL_MAP_WRITE;
    let pointer = make!(clEnqueueMapBuffer(
        gpu.queue,
        mapped,
        CL_TRUE,
        flags,
        0,
        4096,
        0,
        null(),
        null_mut()
    ));
    let (mut arriving, store) = there_and_nearly_back(1);

    let mut size = 0_usize;
    let to = (&raw mut size).cast();
    ok!(clGetMemObjectInfo(kept, CL_MEM_SIZE, 8, to, null_mut()));
    assert_eq!(size, 8192);
    let region = cl_buffer_region {
        origin: 4096,
        size: 4096,
    };
    let kind = CL_BUFFER_CREATE_TYPE_REGION;
    let half = make!(clCreateSubBuffer(kept, 0, kind, (&raw const region).cast()));
    // SAFETY: 4096 bytes are mapped for reading and writing; nothing else touches them meanwhile.
    let bytes = unsafe { std::slice::from_raw_parts_mut(pointer.cast::<u8>(), 4096) };
    assert!(bytes.iter().all(|byte| *byte == 2));
    bytes.fill(9);

    // Released in the middle of its arrival: the transfer under way ends, the rest is not asked for.
    let gone = object_of(&store, 12288);
    let piece = loop {
        let piece = arriving.next_range(4096).unwrap();
        if piece.object == gone {
            break piece;
        }
        let transfer = arriving.start_write(&piece, store.of(&piece)).unwrap();
        transfer.wait().unwrap();
        arriving.arrived(&piece);
    };
    let under_way = arriving.start_write(&piece, store.of(&piece)).unwrap();
    ok!(clReleaseMemObject(released));
    under_way.wait().unwrap();
    arriving.arrived(&piece);
    while let Some(piece) = arriving.next_range(4096) {
        assert_ne!(piece.object, gone);
        let transfer = arriving.start_write(&piece, store.of(&piece)).unwrap();
        transfer.wait().unwrap();
        arriving.arrived(&piece);
    }
    let none = mover::FetchRange {
        object: gone,
        offset: 0,
        len: 1,
    };
    assert!(matches!(
        arriving.start_zero(&none),
        Err(MoveError::Gone(_))
    ));
    arriving.finish();

    let expected: Vec<u8> = (4096..8192).map(|n| n as u8).collect();
    assert_eq!(gpu.read::<u8>(half, 0, 4096), expected);
    ok!(clEnqueueUnmapMemObject(
        gpu.queue,
        mapped,
        pointer,
        0,
        null(),
        null_mut()
    ));
    assert_eq!(
        gpu.read::<u8>(mapped, 0, 4096),
        [9; 4096],
        "what the program wrote meanwhile"
    );
    for object in [half, kept, mapped] {
        ok!(clReleaseMemObject(object));
    }
}

/// Small steps of a linear congruential generator: the same run every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % n
    }
}
