//! What a random program does.

use proptest::prelude::*;

use super::objects::KINDS;

/// What writes an object.
#[derive(Clone, Copy, Debug)]
pub enum Write {
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
pub enum Step {
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

pub fn step() -> impl Strategy<Value = Step> {
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
