//! What a session and dom0 do with a move.

use std::cell::UnsafeCell;
use std::collections::BTreeMap;
use std::time::Duration;

use channel::guest::StepError;
use runtime::delta::{ExtentKind, FilledPlace, Place, Sink};
use runtime::mover::{
    self, Capture, Contents, Detached, HostBytes, MoveError, PostCopy, Quiesced, Round,
};

pub const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a transfer.
const PIECE: u64 = 1_000_003;
/// Bytes of a place.
const PLACE: usize = 100_000;

/// Memory of a transfer: `OwnedBytes` goes byte by byte, which takes long without optimisation.
struct Bytes(Box<UnsafeCell<[u8]>>);

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        let bytes = Box::into_raw(bytes.into_boxed_slice());
        // SAFETY: a cell is as what it has in it.
        Bytes(unsafe { Box::from_raw(bytes as *mut UnsafeCell<[u8]>) })
    }
}

// SAFETY: the box stays where it is when its owner moves; its bytes are in a cell, so no reference claims them.
unsafe impl HostBytes for Bytes {
    fn as_ptr(&self) -> *mut u8 {
        self.0.get().cast()
    }

    fn len(&self) -> usize {
        self.0.get().len()
    }
}

/// The image, and places that are out.
#[derive(Default)]
pub struct Dom0 {
    pub image: BTreeMap<u64, Vec<u8>>,
    places: BTreeMap<u64, Box<[u8]>>,
    next: u64,
    /// Bytes that came as changed chunks since it was last 0.
    pub changed: u64,
}

impl Sink for Dom0 {
    fn place(&mut self, may_wait: bool) -> Result<Option<Place>, StepError> {
        if !may_wait && self.places.len() >= 4 {
            return Ok(None);
        }
        self.next += 1;
        let memory = self.places.entry(self.next);
        let memory = memory.or_insert_with(|| vec![0; PLACE].into_boxed_slice());
        // SAFETY: the box stays until its piece is delivered, and is not looked at before.
        Ok(Some(unsafe {
            Place::new(self.next, memory.as_mut_ptr(), PLACE, 7)
        }))
    }

    fn deliver(&mut self, piece: FilledPlace) -> Result<(), StepError> {
        let bytes = self.places.remove(&piece.token).expect("a place of ours");
        let mut from = 0;
        for extent in piece.extents {
            let object = self.image.entry(extent.buffer);
            let object = object.or_insert_with(|| vec![0xa5; extent.buffer_size as usize]);
            let to = &mut object[extent.offset as usize..][..extent.len as usize];
            match extent.kind {
                ExtentKind::Zero => to.fill(0),
                ExtentKind::Data => {
                    to.copy_from_slice(&bytes[from..][..to.len()]);
                    from = (from + to.len()).next_multiple_of(8);
                }
            }
            self.changed += u64::from(extent.len);
        }
        Ok(())
    }
}

impl Dom0 {
    /// Takes a round.
    fn take(&mut self, contents: &mut Contents, round: &Round) -> Result<(), MoveError> {
        for object in &round.dropped {
            // One that was freed before any of it had come, too: as the spool, this asks for no object.
            self.image.remove(object);
        }
        let sent = contents.send_changed(round, self);
        // Places of a pass that has failed.
        self.places.clear();
        let sent = sent?;
        for region in round.regions.iter().chain(&sent.whole) {
            let object = self.image.entry(region.object);
            let object = object.or_insert_with(|| vec![0xa5; region.object_size as usize]);
            let mut at = region.offset;
            while at < region.offset + region.len {
                let len = PIECE.min(region.offset + region.len - at) as usize;
                match contents.read(region.object, at, Bytes::from(vec![0; len])) {
                    Ok(mut bytes) => {
                        object[at as usize..][..len].copy_from_slice(bytes.0.get_mut());
                    }
                    Err(MoveError::Gone(_)) => break,
                    Err(error) => return Err(error),
                }
                at += len as u64;
            }
        }
        Ok(())
    }

    /// A round while the program runs.
    pub fn round(&mut self, capture: &mut Capture) -> Result<(), MoveError> {
        capture.compare();
        let round = capture.round();
        let taken = self.take(capture, &round);
        if taken.is_err() {
            capture.start_over();
        }
        taken?;
        capture.dirty_bytes(&mut || Ok(()))?;
        Ok(())
    }

    /// The last one.
    pub fn last_round(&mut self, quiesced: &mut Quiesced) -> Result<(), MoveError> {
        let round = quiesced.last_round();
        self.take(quiesced, &round)
    }

    /// Gives all contents back; a transfer that has failed once more.
    pub fn give_back(&self, mut arriving: PostCopy) {
        for _ in 0..3 {
            let Err(error) = self.pieces(&mut arriving) else {
                return arriving.finish();
            };
            println!("giving back: {error}");
            arriving.rewind();
        }
        panic!("contents do not come back");
    }

    fn pieces(&self, arriving: &mut PostCopy) -> Result<(), MoveError> {
        let mut transfers = Vec::new();
        while let Some(piece) = arriving.next_range(PIECE) {
            // The program may have freed it meanwhile.
            let bytes = &self.image[&piece.object][piece.offset as usize..][..piece.len as usize];
            let started = if bytes == &vec![0; bytes.len()][..] {
                match arriving.start_zero(&piece) {
                    Ok(transfer) => transfer.wait().map(|_| None),
                    Err(error) => Err(error),
                }
            } else {
                let bytes = Bytes::from(bytes.to_vec());
                arriving.start_write(&piece, bytes).map(Some)
            };
            match started {
                Ok(Some(transfer)) => transfers.push((piece, transfer)),
                Ok(None) | Err(MoveError::Gone(_)) => arriving.arrived(&piece),
                Err(error) => return Err(error),
            }
        }
        for (piece, transfer) in transfers {
            transfer.wait()?;
            arriving.arrived(&piece);
        }
        Ok(())
    }
}

/// Brings the program back; a failure once more, as dom0 would.
pub fn reload(mut detached: Detached) -> PostCopy {
    for _ in 0..4 {
        match detached.reload() {
            Ok((arriving, blackout)) => {
                assert!(blackout.from < blackout.to);
                return arriving;
            }
            Err((still, error)) => {
                println!("reloading: {error}");
                detached = still;
            }
        }
    }
    panic!("the driver does not come back");
}

/// A whole move with `rounds` rounds. What fails before the driver is taken away ends it, as dom0 would; the program goes on.
/// Whether it was moved, or else why not.
pub fn there_and_back(rounds: u32, mut meanwhile: impl FnMut(u32)) -> Result<Dom0, MoveError> {
    let mut capture = mover::begin()?;
    let mut dom0 = Dom0::default();
    for round in 0..rounds {
        dom0.round(&mut capture)?;
        dom0.changed = 0;
        meanwhile(round);
    }
    let mut quiesced = capture.quiesce(PATIENCE).map_err(|(_, error)| error)?;
    dom0.last_round(&mut quiesced)?;
    let detached = quiesced.unload().map_err(|(_, error)| error)?;
    let held = detached.devices_held().to_vec();
    dom0.give_back(reload(detached));
    match held.as_slice() {
        [] => Ok(dom0),
        held => Err(MoveError::Blocked(held.join(", "))),
    }
}
