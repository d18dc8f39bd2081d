//! A whole move within one process; the tests play dom0.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::mover::{
    self, Blackout, Capture, FetchRange, MoveError, OwnedBytes, PostCopy, Region, Round,
};

/// Only one move at a time in a process, and these tests share one.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes per transfer: small, so that buffers travel in several pieces, and odd, so that pixels are cut.
const PIECE: u64 = 9_999;

/// What dom0 would hold.
#[derive(Default)]
pub struct Store(pub BTreeMap<u64, Vec<u8>>);

impl Store {
    fn pieces(region: &Region) -> impl Iterator<Item = (u64, usize)> {
        let (start, end) = (region.offset, region.offset + region.len);
        (start..end)
            .step_by(PIECE as usize)
            .map(move |at| (at, PIECE.min(end - at) as usize))
    }

    /// A piece's contents.
    pub fn of(&self, piece: &FetchRange) -> OwnedBytes {
        let bytes = &self.0[&piece.object][piece.offset as usize..][..piece.len as usize];
        OwnedBytes::from(bytes.to_vec())
    }

    /// Gives all contents back, several transfers at a time.
    pub fn give_back(&self, mut arriving: PostCopy) {
        let mut transfers = Vec::new();
        while let Some(piece) = arriving.next_range(PIECE) {
            let transfer = arriving.start_write(&piece, self.of(&piece)).unwrap();
            transfers.push((piece, transfer));
        }
        for (piece, transfer) in transfers {
            transfer.wait().unwrap();
            arriving.arrived(&piece);
        }
        arriving.finish();
    }

    /// Takes a round in; what the program released meanwhile is left out.
    fn take(
        &mut self,
        round: &Round,
        read: impl Fn(u64, u64, OwnedBytes) -> Result<OwnedBytes, MoveError>,
    ) {
        for object in &round.dropped {
            assert!(self.0.remove(object).is_some());
        }
        for region in &round.regions {
            let bytes = self
                .0
                .entry(region.object)
                .or_insert_with(|| vec![0; region.object_size as usize]);
            for (offset, len) in Store::pieces(region) {
                match read(region.object, offset, OwnedBytes::zeroed(len)) {
                    Ok(piece) => bytes[offset as usize..][..len].copy_from_slice(&piece.into_vec()),
                    Err(MoveError::Gone(_)) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

pub fn begin() -> Capture {
    mover::begin().unwrap()
}

/// One whole move with `rounds` rounds of pre-copy. Returns what was read at the stop, in bytes, and the blackout.
pub fn there_and_back(rounds: u32) -> (u64, Blackout) {
    there_and_back_with(rounds, || {})
}

/// The same, with `before_stop` between the rounds and the stop.
pub fn there_and_back_with(rounds: u32, before_stop: impl FnOnce()) -> (u64, Blackout) {
    let mut capture = begin();
    let mut store = Store::default();
    for _ in 0..rounds {
        let round = capture.round();
        store.take(&round, |object, offset, to| {
            capture.read(object, offset, to)
        });
    }
    before_stop();
    let mut quiesced = capture
        .quiesce(PATIENCE)
        .map_err(|(_, error)| error)
        .unwrap();
    let last = quiesced.last_round();
    store.take(&last, |object, offset, to| {
        quiesced.read(object, offset, to)
    });
    let detached = quiesced.unload().map_err(|(_, error)| error).unwrap();
    assert_eq!(detached.devices_held(), <&[String]>::default());
    let (arriving, blackout) = detached.reload().map_err(|(_, error)| error).unwrap();
    assert!(blackout.from < blackout.to);
    store.give_back(arriving);
    (last.bytes(), blackout)
}

/// A move up to the point where the program runs again and nothing has arrived.
pub fn there_and_nearly_back(rounds: u32) -> (PostCopy, Store) {
    let mut capture = begin();
    let mut store = Store::default();
    for _ in 0..rounds {
        let round = capture.round();
        store.take(&round, |object, offset, to| {
            capture.read(object, offset, to)
        });
    }
    let quiesced = capture.quiesce(PATIENCE);
    let mut quiesced = quiesced.map_err(|(_, error)| error).unwrap();
    let last = quiesced.last_round();
    store.take(&last, |object, offset, to| {
        quiesced.read(object, offset, to)
    });
    let detached = quiesced.unload().map_err(|(_, error)| error).unwrap();
    let (arriving, _) = detached.reload().map_err(|(_, error)| error).unwrap();
    (arriving, store)
}
