//! Random programs, of every kind of object with short and long commands, captured at any moment: what was sent is what
//! the device has, to the byte.
//!
//! `XL_GPU_RANDOM_PROGRAMS` makes it longer.

mod objects;
mod program;
mod steps;

use proptest::prelude::*;
use runtime::mover::{self, Capture};

use crate::common::moving::alone;
use crate::image::Image;
use crate::rounds::{stop, take_with};
use objects::KINDS;
use program::Program;
use steps::{Step, Write, step};

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
