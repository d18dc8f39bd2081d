//! Ends of a link without the protocol: what a program may do that has the pages mapped.

use super::rng::Rng;
use super::{AGES, announcement};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;
use xl_gpu_channel::image::BatchBuilder;
use xl_gpu_channel::layout::Layout;
use xl_gpu_channel::link::{GuestLink, Link, Rendezvous, Request, wait_readable};
use xl_gpu_channel::loopback::LoopbackRendezvous;
use xl_gpu_channel::memory::SharedRegion;
use xl_gpu_channel::message::{ToGuest, ToHost};
use xl_gpu_channel::ring::{Consumer, Corrupt, Entry, Producer, RingMem};

/// A program that has met dom0 and shared pages; from then on it does as the test likes.
pub struct RawGuest {
    pub rendezvous: LoopbackRendezvous,
    pub link: Box<dyn GuestLink>,
    pub layout: Layout,
    producer: Producer,
    consumer: Consumer,
}

impl RawGuest {
    /// Connects, waits for dom0's `open`, shares; `before` may spoil the directory before it is published.
    pub fn meet(path: &Path, pages: usize, before: impl FnOnce(&SharedRegion)) -> RawGuest {
        let mut rendezvous = LoopbackRendezvous::connect(path).unwrap();
        rendezvous.announce(&announcement()).unwrap();
        while rendezvous.next().unwrap() != Some(Request::Open) {
            wait_readable(&[rendezvous.fd()], Some(AGES)).unwrap();
        }
        let link = rendezvous.share(pages).unwrap();
        let layout = Layout::format(link.memory(), link.references());
        before(link.memory());
        rendezvous.publish(&*link).unwrap();
        RawGuest {
            rendezvous,
            link,
            layout,
            producer: Producer::default(),
            consumer: Consumer::default(),
        }
    }

    /// Puts a message on the ring as the rules are; false where it is full, or dom0's index makes no sense.
    pub fn try_send(&mut self, entry: &Entry) -> bool {
        let ring = self.layout.guest_to_dom0(self.link.memory());
        let sent = self.producer.push(&ring, entry) == Ok(true);
        self.link.notify().unwrap();
        sent
    }

    pub fn send(&mut self, message: ToHost) {
        while !self.try_send(&message.encode()) {
            std::thread::yield_now();
        }
    }

    pub fn try_recv(&mut self) -> Option<ToGuest> {
        let ring = self.layout.dom0_to_guest(self.link.memory());
        let entry = self.consumer.pop(&ring).ok().flatten()?;
        ToGuest::decode(&entry).ok()
    }

    /// The next message; `None` when dom0 has left.
    pub fn recv(&mut self) -> Option<ToGuest> {
        let start = Instant::now();
        loop {
            if let Some(message) = self.try_recv() {
                return Some(message);
            }
            if matches!(self.rendezvous.next(), Err(_) | Ok(Some(_))) {
                return None;
            }
            assert!(start.elapsed() < AGES, "dom0 says nothing");
            let fds = [self.link.fd(), self.rendezvous.fd()];
            wait_readable(&fds, Some(AGES)).unwrap();
            self.link.clear().unwrap();
        }
    }

    /// Waits until dom0 gives `command`, whatever else it says before.
    pub fn expect(&mut self, command: ToGuest) {
        while self.recv().expect("dom0 is there") != command {}
    }

    /// Fills a slot with a good batch of one extent of `len` bytes and says so.
    pub fn send_good(&mut self, slot: u64, round: u32, len: usize) {
        while !self.try_send_good(slot, round, len) {
            std::thread::yield_now();
        }
    }

    /// The same, unless the ring is full.
    pub fn try_send_good(&mut self, slot: u64, round: u32, len: usize) -> bool {
        let mut batch = BatchBuilder::new(self.layout.payload_size(), self.layout.table_extents());
        assert!(batch.push_data(1, 1 << 20, 0, &vec![7; len]));
        self.put(slot as usize, &batch);
        let message = ToHost::Data {
            slot,
            round: round.into(),
            payload: len as u64,
            extents: 1,
        };
        self.try_send(&message.encode())
    }

    /// True while dom0 neither asks for anything nor has left.
    pub fn rendezvous_is_quiet(&mut self) -> bool {
        matches!(self.rendezvous.next(), Ok(None))
    }

    /// Writes a batch's bytes and table into a slot.
    pub fn put(&self, slot: usize, batch: &BatchBuilder) {
        let memory = self.link.memory();
        let (payload, table) = (batch.payload(), batch.table());
        let area = self.layout.payload(memory, slot);
        area.slice(0, payload.len()).unwrap().write(payload);
        let area = self.layout.table(memory, slot);
        area.slice(0, table.len()).unwrap().write(&table);
    }
}

/// dom0's end without the protocol.
pub struct RawHost {
    pub link: Box<dyn Link>,
    pub layout: Layout,
    producer: Producer,
    consumer: Consumer,
}

impl RawHost {
    pub fn new(link: Box<dyn Link>, layout: Layout) -> RawHost {
        RawHost {
            link,
            layout,
            producer: Producer::default(),
            consumer: Consumer::default(),
        }
    }

    pub fn try_send(&mut self, entry: &Entry) -> Result<bool, Corrupt> {
        let ring = self.layout.dom0_to_guest(self.link.memory());
        let sent = self.producer.push(&ring, entry);
        self.link.notify().unwrap();
        sent
    }

    pub fn try_recv(&mut self) -> Option<ToHost> {
        let ring = self.layout.guest_to_dom0(self.link.memory());
        let entry = self.consumer.pop(&ring).ok().flatten()?;
        ToHost::decode(&entry).ok()
    }
}

/// One act of vandalism somewhere in the shared pages. `deep`: indices and ring entries too, which mostly ends the
/// link at once.
pub fn scribble(rng: &mut Rng, memory: &SharedRegion, layout: &Layout, deep: bool) {
    match rng.below(if deep { 6 } else { 3 }) {
        0 => {
            let table = layout.table(memory, rng.below(layout.slots()));
            let at = rng.below(4096 / 4 - 1) * 4;
            let value = rng.nasty().to_le_bytes();
            table.slice(at, 8).unwrap().write(&value);
        }
        1 => {
            let payload = layout.payload(memory, rng.below(layout.slots()));
            let at = rng.below(payload.len() - 8);
            let noise = rng.bytes(8);
            payload.slice(at, 8).unwrap().write(&noise);
        }
        2 => {
            let value = rng.nasty() as u32;
            memory.store(rng.below(16) * 4, value, Ordering::Relaxed);
        }
        3 => {
            let value = rng.nasty() as u32;
            for ring in [layout.guest_to_dom0(memory), layout.dom0_to_guest(memory)] {
                match rng.below(6) {
                    0 => ring.store_producer(value),
                    1 => ring.store_consumer(value),
                    _ => {}
                }
            }
        }
        4 => {
            let mut entry: Entry = [0; 64];
            entry.copy_from_slice(&rng.bytes(64));
            let slot = rng.below(64) as u32;
            layout.guest_to_dom0(memory).write(slot, &entry);
        }
        _ => {
            let at = rng.below(memory.len() / 4) * 4;
            memory.store(at, rng.next() as u32, Ordering::Relaxed);
        }
    }
}
