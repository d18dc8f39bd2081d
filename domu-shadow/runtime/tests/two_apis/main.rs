//! A process with two APIs is one session, and moves as one.

mod fake;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use channel::guest::StepError;
use channel::image::Api;
use fake::{A, Asked, B, asked, fail_at};
use xl_gpu_runtime::delta::{FilledPlace, Place, Sink};
use xl_gpu_runtime::mover::{self, Capture, Detached, MoveError, OwnedBytes, PostCopy, Quiesced};
use xl_gpu_runtime::{gate, start};

const PATIENCE: Duration = Duration::from_secs(10);

/// Only one move at a time in a process, and these tests share one.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    fake::register();
    one
}

/// No pass sends anything here.
struct Nowhere;

impl Sink for Nowhere {
    fn place(&mut self) -> Result<Option<Place>, StepError> {
        Ok(None)
    }

    fn deliver(&mut self, _piece: FilledPlace) -> Result<(), StepError> {
        Ok(())
    }
}

fn begin() -> Capture {
    mover::begin().map_err(|e| e.to_string()).unwrap()
}

fn quiesced(capture: Capture) -> Quiesced {
    capture.quiesce(PATIENCE).map_err(|(_, e)| e).unwrap()
}

fn detached(quiesced: Quiesced) -> Detached {
    quiesced.unload().map_err(|(_, e)| e).unwrap()
}

/// Gives every object what `contents` has of it.
fn give(mut arriving: PostCopy, contents: &[(u64, Vec<u8>)]) {
    while let Some(piece) = arriving.next_range(5) {
        let (_, bytes) = contents.iter().find(|(id, _)| *id == piece.object).unwrap();
        let range = piece.offset as usize..(piece.offset + piece.len) as usize;
        let from = OwnedBytes::from(bytes[range].to_vec());
        arriving.start_write(&piece, from).unwrap().wait().unwrap();
        arriving.arrived(&piece);
    }
    arriving.finish();
}

/// The calling thread comes through the gate at once.
fn assert_open() {
    assert!(!gate::is_closed());
    assert!(start::enter(gate::Pass::Normal).is_some());
}

fn both(what: &'static str) -> [Asked; 2] {
    [("A", what), ("B", what)]
}

fn back(what: &'static str) -> [Asked; 2] {
    [("B", what), ("A", what)]
}

const LOOKED: [Asked; 2] = [("A", "blocked"), ("B", "blocked")];
const AT_REST: [[Asked; 2]; 3] = [
    [("A", "quiesce"), ("B", "quiesce")],
    [("A", "settle"), ("A", "settled")],
    [("B", "settle"), ("B", "settled")],
];

#[test]
fn a_move_goes_through_both_and_ids_find_their_api() {
    let _alone = alone();
    let mut capture = begin();
    assert_eq!(asked(), [LOOKED, both("begin")].concat());
    let round = capture.round();
    let ids: Vec<u64> = round.regions.iter().map(|region| region.object).collect();
    assert_eq!(ids, [A.id(3), B.id(3)]);
    let read = |capture: &Capture, id, size| {
        let to = OwnedBytes::zeroed(size);
        capture.read(id, 0, to).map(OwnedBytes::into_vec)
    };
    let contents: Vec<(u64, Vec<u8>)> = round
        .regions
        .iter()
        .map(|it| (it.object, read(&capture, it.object, it.len as usize)))
        .map(|(id, bytes)| (id, bytes.unwrap()))
        .collect();
    assert_eq!(contents[0].1, A.contents(3));
    assert_eq!(contents[1].1, B.contents(3));
    let nobodys = 5 << 56 | 3;
    assert!(matches!(read(&capture, nobodys, 1), Err(MoveError::Gone(id)) if id == nobodys));
    let sent = capture.send_changed(&round, &mut Nowhere).unwrap();
    assert_eq!(sent.report.extents, 2);
    assert_eq!(capture.dirty_bytes(&mut || Ok(())).unwrap(), 20);
    assert_eq!(capture.whole(), (3, channel::guest::Whole::Driver));
    assert_eq!(asked(), [both("round"), both("send")].concat());

    let mut quiesced = quiesced(capture);
    assert_eq!(quiesced.last_round().regions.len(), 2);
    let was = [&[LOOKED], &AT_REST[..], &[both("last round")]].concat();
    assert_eq!(asked(), was.concat());
    let detached = detached(quiesced);
    assert!(detached.devices_held().is_empty() && B.contents(3)[0] == 0);
    let (arriving, _) = detached.reload().map_err(|(_, e)| e).unwrap();
    assert_open();
    give(arriving, &contents);
    assert_eq!(A.contents(3), contents[0].1);
    assert_eq!(B.contents(3), contents[1].1);
    let was = [LOOKED, back("release"), both("recreate"), both("end")];
    assert_eq!(asked(), was.concat());
}

#[test]
fn what_fails_for_the_second_is_undone_for_the_first() {
    let _alone = alone();
    fail_at("B", "begin");
    assert!(matches!(
        mover::begin(),
        Err(MoveError::Driver { api: Api(7), .. })
    ));
    let was = [&LOOKED[..], &both("begin"), &[("A", "end")]].concat();
    assert_eq!(asked(), was);

    let capture = begin();
    asked();
    fail_at("B", "quiesce");
    let (capture, error) = capture.quiesce(PATIENCE).map(drop).unwrap_err();
    assert!(matches!(error, MoveError::NotQuiet { .. }));
    assert_open();
    let was = [&LOOKED[..], &both("quiesce"), &[("A", "resume")]].concat();
    assert_eq!(asked(), was);

    fail_at("B", "settle");
    let (capture, _) = capture.quiesce(PATIENCE).map(drop).unwrap_err();
    assert_open();
    assert_eq!(
        asked()[2 + 4..],
        [&[("B", "settle")], &back("resume")[..]].concat()
    );

    // Something has begun to run meanwhile, and one does not come to rest once more: the other goes on, too.
    fail_at("B", "settled");
    fail_at("A", "quiesce");
    let (capture, _) = capture.quiesce(PATIENCE).map(drop).unwrap_err();
    assert_open();
    assert!(asked().ends_with(&[("A", "quiesce"), ("B", "resume")]));

    // Something has begun to run meanwhile: both come to rest once more.
    fail_at("B", "settled");
    let quiesced = quiesced(capture);
    let was = [&[LOOKED], &AT_REST[..], &AT_REST[..]].concat();
    assert_eq!(asked(), was.concat());

    let mut capture = quiesced.reopen();
    assert_open();
    assert_eq!(asked(), back("resume"));
    fail_at("B", "send");
    let round = capture.round();
    assert!(capture.send_changed(&round, &mut Nowhere).is_err());
    capture.start_over();
    let was = [both("round"), both("send"), both("start over")];
    assert_eq!(asked(), was.concat());
}

#[test]
fn what_cannot_be_released_or_made_again_is_tried_again_for_both() {
    let _alone = alone();
    let contents = [(A.id(3), A.contents(3)), (B.id(3), B.contents(3))];
    let quiesced = quiesced(begin());
    asked();
    fail_at("B", "release");
    let detached = detached(quiesced);
    assert_eq!(detached.devices_held(), ["B's node"]);
    fail_at("B", "recreate");
    let (detached, error) = detached.reload().map(drop).unwrap_err();
    assert!(matches!(error, MoveError::Driver { api: Api(7), .. }));
    assert!(gate::is_closed() && detached.devices_held().is_empty());
    let was = [LOOKED, back("release"), both("recreate"), back("release")];
    assert_eq!(asked(), was.concat());
    let (arriving, _) = detached.reload().map_err(|(_, e)| e).unwrap();
    give(arriving, &contents);
    assert_eq!(B.contents(3), contents[1].1);
}

#[test]
fn one_that_blocks_keeps_both() {
    let _alone = alone();
    fail_at("B", "blocked");
    assert!(matches!(mover::begin(), Err(MoveError::Blocked(why)) if why == "B blocks"));
    assert_eq!(asked(), LOOKED);
    let quiesced = quiesced(begin());
    fail_at("B", "blocked");
    let (quiesced, _) = quiesced.unload().map(drop).unwrap_err();
    asked();
    drop(quiesced);
    assert_open();
    assert_eq!(asked(), [back("resume"), both("end")].concat());
    assert_eq!(mover::summary().devices, ["A's device", "B's device"]);
}
