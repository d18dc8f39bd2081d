//! The image is the device's memory at the stop, whatever ran until then.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use runtime::mover;

use crate::common::moving::alone;
use crate::common::{
    CL_MEM_ALLOC_HOST_PTR, CL_MEM_READ_WRITE, CL_MEM_WRITE_ONLY,
    CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE,
};
use crate::image::Image;
use crate::program::Shared;
use crate::rig::Random;
use crate::rounds::{dirty, stop, take};

/// How long it runs, in seconds.
const SECONDS_ENV: &str = "XL_GPU_PRECOPY_SECONDS";

/// Four threads write to common buffers of two contexts with kernels (`const` cast away in some), transfers, maps and
/// sub-buffers, over queues in and out of order that are released while busy, and have buffers come and go. Captures of
/// random numbers of rounds end in a stop, and each time every byte is compared.
#[test]
fn the_image_is_the_memory_at_the_stop() {
    let _alone = alone();
    let seconds = std::env::var(SECONDS_ENV)
        .ok()
        .and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(6));
    let programs = [
        Shared::new(&[
            (CL_MEM_READ_WRITE, 200_000),
            (CL_MEM_ALLOC_HOST_PTR, 70_001),
            (CL_MEM_READ_WRITE, 5000),
        ]),
        Shared::new(&[(CL_MEM_WRITE_ONLY, 120_000), (CL_MEM_READ_WRITE, 3001)]),
    ];
    let mut random = Random::new(0x70_72_65);
    let (mut rounds, mut stops) = (0, 0);
    std::thread::scope(|scope| {
        // A failure must not leave the threads running for ever.
        let _end = EndAll(&programs);
        for (n, program) in programs.iter().enumerate() {
            for (m, properties) in [0, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE]
                .into_iter()
                .enumerate()
            {
                scope
                    .spawn(move || program.write_all_the_time((3 * n + m) as u64 + 11, properties));
            }
        }
        while Instant::now() < end {
            let mut capture = mover::begin().unwrap();
            let mut image = Image::new(random.next(), 1 + random.below(6) as usize);
            // A stop that is taken back does not end a capture.
            for _ in 0..1 + random.below(3) {
                for _ in 0..random.below(5) {
                    take(&mut capture, &mut image);
                    rounds += 1;
                    if random.below(3) == 0 {
                        dirty(&mut capture);
                    }
                    if random.below(20) == 0 {
                        capture.start_over();
                    }
                }
                let quiesced = stop(capture, &mut image);
                stops += 1;
                capture = quiesced.reopen();
            }
        }
    });
    println!("{rounds} rounds, {stops} stops");
    assert!(stops > 0 && rounds > 0);
    programs.into_iter().for_each(Shared::release);
}

struct EndAll<'a>(&'a [Shared]);

impl Drop for EndAll<'_> {
    fn drop(&mut self) {
        for program in self.0 {
            program.ended.store(true, Ordering::Relaxed);
        }
    }
}
