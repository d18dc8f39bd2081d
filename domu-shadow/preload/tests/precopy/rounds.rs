//! What a round finds, and what the stop finds that rounds did not look for.

use std::ptr::{null, null_mut};

use channel::guest::StepError;
use runtime::delta::ExtentKind;
use runtime::mover::{self, Capture, OwnedBytes, Quiesced, Round};

use crate::common::moving::{PATIENCE, alone};
use crate::common::*;
use crate::image::Image;

pub const SOURCE: &str = "
__kernel void add(__global uint *to, __global const uint *from) { to[get_global_id(0)] += from[get_global_id(0)]; }
__kernel void sneak(__global const uint *a, const uint at, const uint value) { ((__global uint *)a)[at] = value; }";

/// Enough to be compared.
const WORDS: usize = 1 << 17;
const BYTES: u64 = 4 * WORDS as u64;

/// Sends a round into `image`.
pub fn take(capture: &mut Capture, image: &mut Image) -> Round {
    take_with(capture, image, true)
}

/// The same, with buffers compared on the device or not.
pub fn take_with(capture: &mut Capture, image: &mut Image, compares: bool) -> Round {
    if compares {
        capture.compare();
    }
    let round = capture.round();
    image.begin();
    for object in &round.dropped {
        image.buffers.remove(object);
    }
    let sent = capture.send_changed(&round, image).unwrap();
    assert!(sent.whole.is_empty());
    for region in &round.regions {
        match capture.read(region.object, 0, OwnedBytes::zeroed(region.len as usize)) {
            Ok(bytes) => drop(image.buffers.insert(region.object, bytes.into_vec())),
            Err(mover::MoveError::Gone(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    round
}

/// Stops, sends the rest into `image`, and compares it with the device, byte for byte.
pub fn stop(capture: Capture, image: &mut Image) -> Quiesced {
    let mut quiesced = capture
        .quiesce(PATIENCE)
        .map_err(|(_, error)| error)
        .unwrap();
    let round = quiesced.last_round();
    image.begin();
    for object in &round.dropped {
        image.buffers.remove(object);
    }
    let sent = quiesced.send_changed(&round, image).unwrap();
    assert!(sent.whole.is_empty());
    for region in &round.regions {
        let bytes = quiesced.read(region.object, 0, OwnedBytes::zeroed(region.len as usize));
        image
            .buffers
            .insert(region.object, bytes.unwrap().into_vec());
    }
    image.assert_no_byte_twice();
    let objects = quiesced.objects();
    for (object, size) in &objects {
        let there = quiesced.read(*object, 0, OwnedBytes::zeroed(*size as usize));
        let (there, sent) = (there.unwrap().into_vec(), &image.buffers[object]);
        let differs = there.iter().zip(sent).position(|(a, b)| a != b);
        assert_eq!(differs, None, "object {object} of {size} bytes");
    }
    let there: Vec<u64> = objects.iter().map(|(object, _)| *object).collect();
    let kept: Vec<u64> = image.buffers.keys().copied().collect();
    assert!(
        kept.iter().all(|object| there.contains(object)),
        "{kept:?} of {there:?}"
    );
    quiesced
}

pub fn dirty(capture: &mut Capture) -> u64 {
    capture.dirty_bytes(&mut || Ok(())).unwrap()
}

struct Bench {
    gpu: Gpu,
    to: Handle,
    from: Handle,
    add: Handle,
    sneak: Handle,
    image: Image,
}

impl Bench {
    fn new() -> Bench {
        let gpu = Gpu::new();
        let [to, from] = [1_u32, 2].map(|value| {
            let buffer = gpu.buffer(CL_MEM_READ_WRITE, BYTES as usize);
            gpu.write(buffer, 0, &vec![value; WORDS]);
            buffer
        });
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
        let [add, sneak] =
            [c"add", c"sneak"].map(|name| make!(clCreateKernel(program, name.as_ptr())));
        ok!(clReleaseProgram(program));
        set(add, 0, &to);
        set(add, 1, &from);
        set(sneak, 0, &from);
        let image = Image::new(1, 4);
        Bench {
            gpu,
            to,
            from,
            add,
            sneak,
            image,
        }
    }

    /// Writes one word of `from`, which no argument says.
    fn write_in_secret(&self, at: u32) {
        set(self.sneak, 1, &at);
        set(self.sneak, 2, &(0x1000 + at));
        self.gpu.run(self.sneak, 1);
        self.gpu.finish();
    }

    fn sent(&self) -> u64 {
        self.image.bytes(ExtentKind::Data)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for kernel in [self.add, self.sneak] {
            ok!(clReleaseKernel(kernel));
        }
        for buffer in [self.to, self.from] {
            ok!(clReleaseMemObject(buffer));
        }
    }
}

#[test]
fn rounds_carry_the_chunks_that_changed() {
    let _alone = alone();
    let mut bench = Bench::new();
    let mut capture = mover::begin().unwrap();
    take(&mut capture, &mut bench.image);
    assert_eq!(bench.sent(), 2 * BYTES);
    assert_eq!(dirty(&mut capture), 0);
    bench.gpu.write(bench.to, 4096 * 3 + 4000, &[7_u32; 100]);
    assert_eq!(dirty(&mut capture), 2 * 4096);
    // A whole buffer is marked, nothing in it changed.
    bench.gpu.write(bench.from, 0, &[2_u32; 1000]);
    assert_eq!(dirty(&mut capture), 2 * 4096);
    take(&mut capture, &mut bench.image);
    assert_eq!(bench.sent(), 2 * 4096);
    assert_eq!(dirty(&mut capture), 0);
    let (whole, why) = capture.whole();
    assert_eq!((whole, u64::from(why)), (0, 0));
    bench.gpu.run(bench.add, 1024);
    drop(stop(capture, &mut bench.image));
    assert_eq!(bench.sent(), 4096);
}

#[test]
fn a_cast_away_const_is_caught_at_the_stop() {
    let _alone = alone();
    let mut bench = Bench::new();
    let mut capture = mover::begin().unwrap();
    for _ in 0..3 {
        take(&mut capture, &mut bench.image);
    }
    bench.write_in_secret(5000);
    take(&mut capture, &mut bench.image);
    assert_eq!(bench.sent(), 0, "a round believes the kernel's signature");
    let quiesced = stop(capture, &mut bench.image);
    assert_eq!(bench.sent(), 4096);
    drop(quiesced);
    assert_eq!(
        bench.gpu.read::<u32>(bench.from, 20_000, 1),
        [0x1000 + 5000]
    );
}

#[test]
fn a_cast_away_const_seen_early_is_expected_from_then_on() {
    let _alone = alone();
    let mut bench = Bench::new();
    let mut capture = mover::begin().unwrap();
    take(&mut capture, &mut bench.image);
    bench.write_in_secret(0);
    take(&mut capture, &mut bench.image);
    assert_eq!(
        bench.sent(),
        4096,
        "the second round compares all that was used"
    );
    bench.write_in_secret(70_000);
    assert_eq!(dirty(&mut capture), 4096);
    take(&mut capture, &mut bench.image);
    assert_eq!(bench.sent(), 4096);
    drop(stop(capture, &mut bench.image));
    assert_eq!(bench.sent(), 0);
}

#[test]
fn without_comparing_the_stop_believes_no_signature_either() {
    let _alone = alone();
    let bench = Bench::new();
    let constant = bench.gpu.buffer(CL_MEM_READ_ONLY, BYTES as usize);
    bench.gpu.write(constant, 0, &vec![1_u32; WORDS]);
    let mut capture = mover::begin().unwrap();
    assert_eq!(capture.round().bytes(), 3 * BYTES);
    bench.write_in_secret(1);
    set(bench.add, 1, &constant);
    bench.gpu.run(bench.add, 1024);
    bench.gpu.finish();
    assert_eq!(capture.round().bytes(), BYTES, "`to`");
    let mut quiesced = capture.quiesce(PATIENCE).map_err(|(_, e)| e).unwrap();
    assert_eq!(
        quiesced.last_round().bytes(),
        BYTES,
        "`from`, not the read-only buffer"
    );
    drop(quiesced);
    ok!(clReleaseMemObject(constant));
}

#[test]
fn a_round_that_failed_is_sent_again() {
    let _alone = alone();
    let mut bench = Bench::new();
    let mut capture = mover::begin().unwrap();
    take(&mut capture, &mut bench.image);
    bench.gpu.write(bench.to, 0, &vec![9_u32; WORDS]);
    capture.compare();
    let round = capture.round();
    bench.image.begin();
    bench.image.fail_after = Some(2);
    let failed = capture.send_changed(&round, &mut bench.image);
    assert!(matches!(
        failed,
        Err(mover::MoveError::Sink(StepError::Failed(_)))
    ));
    capture.start_over();
    bench.image.fail_after = None;
    assert_eq!(dirty(&mut capture), 2 * BYTES);
    drop(stop(capture, &mut bench.image));
    assert_eq!(bench.sent(), 2 * BYTES);
}

#[test]
fn a_stop_that_is_taken_back_loses_nothing() {
    let _alone = alone();
    let mut bench = Bench::new();
    let mut capture = mover::begin().unwrap();
    take(&mut capture, &mut bench.image);
    let fresh = bench.gpu.buffer(CL_MEM_READ_WRITE, 5);
    bench.gpu.write(fresh, 0, &[8_u8; 5]);
    for compared in [false, true, true] {
        bench.gpu.write(bench.to, 8192, &[9_u32; 10]);
        bench.gpu.run(bench.add, 1024);
        capture = stop(capture, &mut bench.image).reopen();
        assert!(bench.sent() > 0);
        bench.write_in_secret(3);
        bench.gpu.run(bench.add, 1024);
        if compared {
            bench.gpu.write(fresh, 0, &[9_u8; 5]);
            take(&mut capture, &mut bench.image);
            assert!(bench.sent() < BYTES, "what the stop sent counts");
        }
    }
    bench.write_in_secret(6000);
    drop(stop(capture, &mut bench.image));
    assert_eq!(bench.sent(), 4096);
    ok!(clReleaseMemObject(fresh));
}

#[test]
fn buffers_come_and_go_between_rounds() {
    let _alone = alone();
    let mut bench = Bench::new();
    let mut capture = mover::begin().unwrap();
    take(&mut capture, &mut bench.image);
    let fresh = bench.gpu.buffer(CL_MEM_READ_WRITE, 20_000);
    bench.gpu.write(fresh, 0, &[3_u8; 20_000]);
    ok!(clReleaseMemObject(bench.from));
    let round = take(&mut capture, &mut bench.image);
    assert_eq!((bench.sent(), round.dropped.len()), (20_000, 1));
    bench.from = fresh;
    let late = bench.gpu.buffer(CL_MEM_READ_WRITE, 5);
    bench.gpu.write(late, 0, &[8_u8; 5]);
    drop(stop(capture, &mut bench.image));
    assert_eq!(bench.sent(), 0, "what is new at the stop is read whole");
    ok!(clReleaseMemObject(late));
}

#[test]
fn little_is_not_worth_comparing() {
    let _alone = alone();
    let gpu = Gpu::new();
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 1000);
    gpu.write(buffer, 0, &[1_u8; 1000]);
    let mut capture = mover::begin().unwrap();
    capture.compare();
    assert_eq!(capture.round().bytes(), 1000);
    let (whole, why) = capture.whole();
    assert_eq!((whole, u64::from(why)), (1000, 0));
    drop(capture);
    ok!(clReleaseMemObject(buffer));
}

/// The queues of a capture use the sub-device for longer than the program does.
#[test]
fn a_sub_device_goes_while_a_capture_runs() {
    let _alone = alone();
    let gpu = Gpu::new();
    let mut image = Image::new(1, 4);
    for _ in 0..4 {
        let list = [CL_DEVICE_PARTITION_EQUALLY, 1, 0];
        let mut parts = [null_mut(); 64];
        let mut count = 0;
        ok!(clCreateSubDevices(
            gpu.device,
            list.as_ptr(),
            64,
            parts.as_mut_ptr(),
            &raw mut count
        ));
        let part = parts[0];
        let context = make!(clCreateContext(
            null(),
            1,
            &raw const part,
            None,
            null_mut()
        ));
        let on_part = Gpu {
            platform: gpu.platform,
            device: part,
            context,
            queue: make!(clCreateCommandQueue(context, part, 0)),
        };
        // One is compared, the other read whole.
        let buffers = [BYTES, 4096].map(|size| on_part.buffer(CL_MEM_READ_WRITE, size as usize));
        on_part.write(buffers[0], 0, &vec![3_u32; WORDS]);
        on_part.write(buffers[1], 0, &[4_u32; 1024]);
        let mut capture = mover::begin().unwrap();
        take(&mut capture, &mut image);
        assert_eq!(image.bytes(ExtentKind::Data), BYTES);
        for buffer in buffers {
            ok!(clReleaseMemObject(buffer));
        }
        drop(on_part);
        for part in &parts[..count as usize] {
            ok!(clReleaseDevice(*part));
        }
        let quiesced = stop(capture, &mut image);
        assert!(image.buffers.is_empty());
        let detached = quiesced.unload().map_err(|(_, error)| error).unwrap();
        let (arriving, _) = detached.reload().map_err(|(_, error)| error).unwrap();
        arriving.finish();
    }
}
