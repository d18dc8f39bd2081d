//! What happens in a case's process.

use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use channel::guest::Whole;
use channel::memory::SharedRegion;
use runtime::mover::{self, MoveError};

use xl_gpu_cuda::abi::CUDA_ERROR_OUT_OF_MEMORY;

use crate::calls::ok;
use crate::dom0::{self, Dom0, PATIENCE};
use crate::program::Program;

pub fn run(name: &str) {
    let mut program = match name {
        "fault" => Program::small(),
        _ => Program::new(),
    };
    match name {
        "there_and_back" => there_and_back(&mut program),
        "busy" => busy(&mut program),
        "capturing" => capturing(&program),
        "gives_way" => gives_way(&mut program),
        "fault" => fault(&mut program),
        "sent_whole" => sent_whole(&mut program),
        "refused" => refused(&program),
        "left_behind" => left_behind(&program),
        "unsent" => unsent(&program),
        "spoilt" => spoilt(&mut program),
        "not_at_rest" => not_at_rest(&program),
        "waits_for_a_value" => waits_for_a_value(),
        "another_gpu" => another_gpu(&program),
        _ => panic!("no case {name}"),
    }
    program.work();
    program.check();
}

fn there_and_back(program: &mut Program) {
    for rounds in [0, 2, 3] {
        let moved = dom0::there_and_back(rounds, |_| program.work());
        let image = moved.unwrap().image;
        let bytes: u64 = image.values().map(|bytes| bytes.len() as u64).sum();
        assert_eq!(bytes, Program::moving_bytes());
        program.check();
        program.renew();
    }
    // Only what changed is sent once more.
    let mut capture = mover::begin().unwrap();
    let mut dom0 = Dom0::default();
    dom0.round(&mut capture).unwrap();
    dom0.changed = 0;
    program.work();
    let dirty = capture.dirty_bytes(&mut || Ok(())).unwrap();
    assert!(dirty > 0 && dirty < 100_000, "{dirty}");
    dom0.round(&mut capture).unwrap();
    assert!(dom0.changed >= dirty && dom0.changed < 100_000);
    assert_eq!(capture.whole(), (0, Whole::Not));
    // A stop that is taken back.
    let quiesced = capture.quiesce(PATIENCE).map_err(|(_, error)| error);
    let mut capture = quiesced.unwrap().reopen();
    program.work();
    dom0.round(&mut capture).unwrap();
    drop(capture);
    program.check();
}

/// The program works, frees and allocates all the while.
fn busy(program: &mut Program) {
    let (moves, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for rounds in [1, 3, 0, 2] {
                dom0::there_and_back(rounds, |_| std::thread::sleep(Duration::from_millis(3)))
                    .unwrap();
                moves.fetch_add(1, Ordering::Relaxed);
            }
            is_over.store(true, Ordering::Release);
        });
        let mut turns = 0_u32;
        while !is_over.load(Ordering::Acquire) {
            program.work();
            program.check();
            turns += 1;
            if turns.is_multiple_of(3) {
                program.renew();
            }
        }
        assert!(turns > 4, "{turns}");
    });
    assert_eq!(moves.into_inner(), 4);
}

/// A stream that is captured in global mode: it forbids much to all threads. Rounds go on, and a stop waits for its end.
fn capturing(program: &Program) {
    let mut stream = null_mut();
    ok!(cuStreamCreate(&raw mut stream, 1));
    let mut capture = mover::begin().unwrap();
    ok!(cuStreamBeginCapture_v2(stream, 0));
    let mut dom0 = Dom0::default();
    for _ in 0..2 {
        dom0.round(&mut capture).unwrap();
    }
    assert_eq!(capture.whole(), (0, Whole::Not));
    let (capture, error) = capture.quiesce(Duration::from_millis(50)).err().unwrap();
    assert!(error.to_string().contains("being captured"), "{error}");
    ok!(cuMemsetD8Async(program.first(), 0, 64, stream));
    let mut graph = null_mut();
    ok!(cuStreamEndCapture(stream, &raw mut graph));
    assert!(!graph.is_null());
    let quiesced = capture.quiesce(PATIENCE).map_err(|(_, error)| error);
    drop(quiesced.unwrap());
}

/// The program takes all memory that there is, also what comparing had.
fn gives_way(program: &mut Program) {
    let (alone, free_alone) = (take_all(), free());
    let mut capture = mover::begin().unwrap();
    let mut dom0 = Dom0::default();
    dom0.round(&mut capture).unwrap();
    assert_eq!(capture.whole(), (0, Whole::Not));
    assert_eq!(free(), free_alone);
    assert_eq!(take_all(), alone);
    let (_, why) = capture.whole();
    assert_eq!(why, Whole::NoMemory);
    program.work();
    dom0.round(&mut capture).unwrap();
    drop(capture);
    dom0::there_and_back(1, |_| program.work()).unwrap();
}

fn free() -> usize {
    let (mut free, mut total) = (0, 0);
    ok!(cuMemGetInfo_v2(&raw mut free, &raw mut total));
    free
}

/// How many pieces of memory there are, which are free again.
fn take_all() -> usize {
    let mut pieces = Vec::new();
    loop {
        let mut at = 0;
        // SAFETY: as cuda.h asks for.
        match unsafe { crate::calls::cuMemAlloc_v2(&raw mut at, 2 << 20) } {
            0 => pieces.push(at),
            code => {
                assert_eq!(code, CUDA_ERROR_OUT_OF_MEMORY);
                break;
            }
        }
    }
    for &at in &pieces {
        ok!(cuMemFree_v2(at));
    }
    pieces.len()
}

/// A call fails in one of two moves: that one comes to an end of one kind or the other, and the program is as it was. The other succeeds
/// unless something keeps the process where it is.
fn fault(program: &mut Program) {
    let mut failed = 0;
    for rounds in [1, 0] {
        // On a thread of its own, by which the calls are told from the program's.
        let moving = || dom0::there_and_back(rounds, |_| ()).map(drop);
        let moved = std::thread::scope(|scope| scope.spawn(moving).join().unwrap());
        match moved {
            Ok(()) => {}
            Err(MoveError::Blocked(why)) => println!("blocked: {why}"),
            Err(error) => {
                println!("not moved: {error}");
                failed += 1;
            }
        }
        program.work();
        program.check();
    }
    assert!(failed < 2);
}

fn sent_whole(program: &mut Program) {
    let mut capture = mover::begin().unwrap();
    let mut dom0 = Dom0::default();
    dom0.round(&mut capture).unwrap();
    let (bytes, why) = capture.whole();
    assert_eq!(bytes, Program::moving_bytes());
    assert!(matches!(why, Whole::NoKernels | Whole::NoMemory), "{why:?}");
    drop(capture);
    dom0::there_and_back(2, |_| program.work()).unwrap();
    program.check();
}

fn refused(program: &Program) {
    let mut at = 0;
    ok!(cuMemAllocManaged(&raw mut at, 4096, 1));
    let why = mover::begin().err().unwrap().to_string();
    assert!(why.contains("managed memory"), "{why}");
    program.check();
    ok!(cuMemFree_v2(at));
}

fn left_behind(program: &Program) {
    let why = dom0::there_and_back(0, |_| ()).err().unwrap().to_string();
    assert!(
        why.contains("(file descriptor") && why.contains("nvidia0 (mapped at"),
        "{why}"
    );
    program.check();
}

/// What no round at the closed gate has sent is not taken away.
fn unsent(program: &Program) {
    let capture = mover::begin().unwrap();
    let quiesced = capture.quiesce(PATIENCE).map_err(|(_, error)| error);
    let detached = quiesced.unwrap().unload().map_err(|(_, error)| error);
    let detached = detached.unwrap();
    let held = detached.devices_held().join(", ");
    assert!(
        held.contains("blocks of its memory were not sent"),
        "{held}"
    );
    // Nothing has to come back.
    Dom0::default().give_back(dom0::reload(detached));
    program.check();
}

fn spoilt(program: &mut Program) {
    let why = dom0::there_and_back(1, |_| ()).err().unwrap().to_string();
    assert!(why.contains("cuCheckpointProcessCheckpoint"), "{why}");
    program.work();
    program.check();
    let why = mover::begin().err().unwrap().to_string();
    assert!(why.contains("cannot checkpoint this process"), "{why}");
}

fn not_at_rest(program: &Program) {
    let capture = mover::begin().unwrap();
    let (capture, error) = capture.quiesce(Duration::from_millis(50)).err().unwrap();
    let why = error.to_string();
    assert!(why.contains("work in 1 CUDA context(s)"), "{why}");
    program.check();
    // The thread that stayed behind has come to its end by then.
    let quiesced = capture.quiesce(PATIENCE).map_err(|(_, error)| error);
    drop(quiesced.unwrap());
}

/// A link's pages, and whether they are still there.
fn link_pages() -> (SharedRegion, Weak<()>) {
    let is_there = Arc::new(());
    let watched = Arc::downgrade(&is_there);
    let memory = Box::leak(vec![Page([0; 4096]); 4].into_boxed_slice());
    let base = NonNull::from(&mut *memory).cast();
    // SAFETY: the memory is page-aligned, and stays: nobody else has it.
    let region = unsafe { SharedRegion::new(base, 4 * 4096, Box::new(is_there)) };
    (region, watched)
}

#[derive(Clone)]
#[repr(C, align(4096))]
struct Page([u8; 4096]);

/// The driver lets go of pages only when work ends that waits for the program: the stop comes to its end before.
fn waits_for_a_value() {
    let (mut streams, mut flag) = ([null_mut(); 2], 0);
    for stream in &mut streams {
        ok!(cuStreamCreate(stream, 1));
    }
    ok!(cuMemAlloc_v2(&raw mut flag, 4));
    ok!(cuMemsetD8_v2(flag, 0, 4));
    ok!(cuStreamWaitValue32_v2(streams[0], flag, 1, 0));
    let mut capture = mover::begin().unwrap();
    let (region, is_there) = link_pages();
    capture.pin(region.pages());
    drop(region);
    Dom0::default().round(&mut capture).unwrap();
    let (capture, error) = capture.quiesce(Duration::from_millis(50)).err().unwrap();
    assert!(error.to_string().contains("work in 1 CUDA"), "{error}");
    drop(capture);
    // While the driver has them the pages stay, and the next stop waits for that.
    assert!(is_there.upgrade().is_some());
    ok!(cuStreamWriteValue32_v2(streams[1], flag, 1, 0));
    dom0::there_and_back(1, |_| ()).unwrap();
    assert!(is_there.upgrade().is_none());
    ok!(cuMemFree_v2(flag));
}

/// The other GPU comes only when the driver is looked for a second time: `gpus` has it done.
fn another_gpu(program: &Program) {
    let capture = mover::begin().unwrap();
    let mut dom0 = Dom0::default();
    let quiesced = capture.quiesce(PATIENCE).map_err(|(_, error)| error);
    let mut quiesced = quiesced.unwrap();
    dom0.last_round(&mut quiesced).unwrap();
    let detached = quiesced.unload().map_err(|(_, error)| error).unwrap();
    assert_eq!(detached.devices_held(), <&[String]>::default());
    crate::gpus::exchange();
    let detached = match detached.reload() {
        Ok((arriving, _)) => {
            dom0.give_back(arriving);
            program.check();
            return;
        }
        Err((detached, error)) => {
            println!("{error}");
            detached
        }
    };
    crate::gpus::bring_the_right_one();
    dom0.give_back(dom0::reload(detached));
}
