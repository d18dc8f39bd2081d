//! What the benches of captures share: shared pages whose contents are dropped at once, the steps' lines, and the options.

use std::collections::{BTreeMap, VecDeque};
use std::ptr::{NonNull, null_mut};
use std::time::{Duration, Instant};

use channel::guest::StepError;
use channel::memory::SharedRegion;
use runtime::delta::{FilledPlace, PassReport, Place, Sink};
use runtime::mover::{self, FetchRange, HostBytes, PostCopy, Quiesced, Transfer};

/// Slots in shared pages; a delivered one is free again.
pub struct Ring {
    region: SharedRegion,
    slot: usize,
    extents: usize,
    free: VecDeque<u64>,
}

impl Ring {
    pub fn new(slots: usize, slot: usize, extents: usize) -> Ring {
        let bytes = slots * slot;
        // SAFETY: a fresh mapping of a fresh file, never unmapped.
        let memory = unsafe {
            let fd = libc::memfd_create(c"capture-bench".as_ptr(), 0);
            assert_eq!(libc::ftruncate(fd, bytes as i64), 0);
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(
                null_mut(),
                bytes,
                protection,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                fd,
                0,
            )
        };
        assert_ne!(memory, libc::MAP_FAILED);
        let base = NonNull::new(memory.cast()).expect("not the null page");
        // SAFETY: page-aligned, mapped for good, and never referred to.
        let region = unsafe { SharedRegion::new(base, bytes, Box::new(())) };
        Ring {
            region,
            slot,
            extents,
            free: (0..slots as u64).collect(),
        }
    }
}

/// A slot that a transfer reads.
struct Slot(NonNull<u8>, usize);

// SAFETY: the mapping stays for good, and nobody refers to it.
unsafe impl HostBytes for Slot {
    fn as_ptr(&self) -> *mut u8 {
        self.0.as_ptr()
    }

    fn len(&self) -> usize {
        self.1
    }
}

impl Ring {
    /// The first bytes of the slot whose turn it is.
    fn turn(&self, number: usize, bytes: usize) -> Slot {
        let at = number % self.slots() * self.slot;
        let slot = self.region.slice(at, bytes.min(self.slot));
        let memory = NonNull::new(slot.expect("a slot of the region").as_ptr());
        Slot(memory.expect("not the null page"), bytes)
    }

    fn slots(&self) -> usize {
        self.region.pages().len() / self.slot
    }
}

impl Sink for Ring {
    fn place(&mut self, _may_wait: bool) -> Result<Option<Place>, StepError> {
        Ok(self.free.pop_front().map(|slot| {
            let bytes = self.region.slice(slot as usize * self.slot, self.slot);
            let memory = bytes.expect("a slot of the region").as_ptr();
            // SAFETY: the mapping stays for good; each slot is lent once at a time.
            unsafe { Place::new(slot, memory, self.slot, self.extents) }
        }))
    }

    fn deliver(&mut self, piece: FilledPlace) -> Result<(), StepError> {
        self.free.push_back(piece.token);
        Ok(())
    }
}

pub fn show(step: &str, took: Duration, report: &PassReport) {
    let seconds = took.as_secs_f64();
    println!(
        r#"{{"step":"{step}","ms":{:.2},"sent_mib":{:.1},"gb_s":{:.2},"examined_gib":{:.2},"waited_ms":{:.2},"extents":{}}}"#,
        seconds * 1e3,
        report.data_bytes as f64 / f64::from(1 << 20),
        report.data_bytes as f64 / seconds / 1e9,
        report.examined_bytes as f64 / f64::from(1 << 30),
        report.waited.as_secs_f64() * 1e3,
        report.extents,
    );
}

/// `--name value` of the command line.
pub struct Options(BTreeMap<String, String>);

impl Options {
    pub fn read() -> Options {
        let mut words = std::env::args().skip(1);
        let mut options = BTreeMap::new();
        while let Some(name) = words.next() {
            options.insert(name, words.next().expect("a value behind each --name"));
        }
        Options(options)
    }

    pub fn get(&self, name: &str, default: f64) -> f64 {
        let text = self.0.get(name);
        text.map_or(default, |text| text.parse().expect("a number"))
    }

    pub fn ring(&self) -> Ring {
        Ring::new(
            self.get("--slots", 48.0) as usize,
            self.get("--slot-kib", 1024.0) as usize * 1024,
            self.get("--extents", 256.0) as usize,
        )
    }
}

/// A capture up to the stop, step by step; `change` writes to memory before each round but the first, and before the stop.
pub fn captured(options: &Options, ring: &mut Ring, change: impl Fn(u32)) -> Quiesced {
    let begun = Instant::now();
    let mut capture = mover::begin().expect("nothing blocks it");
    capture.compare();
    show("begin", begun.elapsed(), &PassReport::default());
    let begun = Instant::now();
    capture.pin(ring.region.pages());
    show("pin", begun.elapsed(), &PassReport::default());
    for number in 0..options.get("--rounds", 5.0) as u32 {
        if number > 0 {
            change(number);
        }
        let begun = Instant::now();
        capture.compare();
        let round = capture.round();
        let sent = capture.send_changed(&round, ring).expect("it is sent");
        assert!(sent.whole.is_empty() && round.regions.is_empty());
        drop(round);
        show(&format!("round {number}"), begun.elapsed(), &sent.report);
        let begun = Instant::now();
        let dirty = capture.dirty_bytes(&mut || Ok(())).expect("it is compared");
        assert_eq!(dirty, 0);
        show("dirty again", begun.elapsed(), &PassReport::default());
    }
    change(1000);
    let begun = Instant::now();
    let mut quiesced = capture
        .quiesce(Duration::from_secs(10))
        .map_err(|(_, error)| error)
        .expect("it comes to rest");
    let drained = begun.elapsed();
    let round = quiesced.last_round();
    let sent = quiesced.send_changed(&round, ring).expect("it is sent");
    drop(round);
    show("stop, from the closed gate", begun.elapsed(), &sent.report);
    show("of it, draining", drained, &PassReport::default());
    quiesced
}

/// Off the device, on it again, and contents in out of the ring's slots, whatever is in them.
pub fn there_and_back(quiesced: Quiesced, ring: &Ring) {
    let nothing = PassReport::default();
    let begun = Instant::now();
    let detached = quiesced
        .unload()
        .map_err(|(_, error)| error)
        .expect("it leaves the device");
    assert_eq!(detached.devices_held(), <&[String]>::default());
    show("off the device", begun.elapsed(), &nothing);
    let begun = Instant::now();
    let (mut arriving, _) = detached
        .reload()
        .map_err(|(_, error)| error)
        .expect("it comes back");
    show("on the device again", begun.elapsed(), &nothing);
    let begun = Instant::now();
    arriving.pin(ring.region.pages());
    show("pin", begun.elapsed(), &nothing);
    let begun = Instant::now();
    let (mut total, mut number, mut under_way) = (0, 0, VecDeque::new());
    while let Some(piece) = arriving.next_range(ring.slot as u64) {
        if under_way.len() == ring.slots() {
            end_oldest(&mut under_way, &mut arriving);
        }
        total += piece.len;
        let contents = ring.turn(number, piece.len as usize);
        let transfer = arriving.start_write(&piece, contents);
        under_way.push_back((piece, transfer.expect("it is written")));
        number += 1;
    }
    while !under_way.is_empty() {
        end_oldest(&mut under_way, &mut arriving);
    }
    arriving.finish();
    let report = PassReport {
        data_bytes: total,
        ..nothing
    };
    show("contents in", begun.elapsed(), &report);
}

fn end_oldest(under_way: &mut VecDeque<(FetchRange, Transfer<Slot>)>, arriving: &mut PostCopy) {
    let (piece, transfer) = under_way.pop_front().expect("there is one");
    transfer.wait().expect("it is written");
    arriving.arrived(&piece);
}
