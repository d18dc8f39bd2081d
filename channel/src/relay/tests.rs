use super::*;
use crate::PAGE_SIZE;
use crate::memory::{SharedRegion, private_region};
use crate::ring::ENTRIES;

const PAGES: usize = 20;

/// Memory, and a doorbell that is never rung.
struct Plain(SharedRegion, std::os::fd::OwnedFd);

impl Plain {
    fn new() -> Plain {
        let memory = private_region(PAGES * PAGE_SIZE);
        Layout::format(&memory, &[0; PAGES]);
        Plain(memory, std::fs::File::open("/dev/null").unwrap().into())
    }
}

impl Link for Plain {
    fn memory(&self) -> &SharedRegion {
        &self.0
    }
    fn notify(&self) -> io::Result<()> {
        Ok(())
    }
    fn fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.1)
    }
    fn clear(&self) -> io::Result<()> {
        Ok(())
    }
}

fn relay() -> Relay<Plain, Plain> {
    Relay::new(Plain::new(), Plain::new(), Layout::for_pages(PAGES))
}

fn data(slot: u64, payload: u64, extents: u64) -> ToHost {
    ToHost::Data {
        slot,
        round: 0,
        payload,
        extents,
    }
}

impl Relay<Plain, Plain> {
    /// The program says so.
    fn say(&self, said: &mut Producer, entry: &Entry) -> bool {
        let ring = self.layout.guest_to_dom0(self.program.memory());
        said.push(&ring, entry).unwrap()
    }

    fn heard(&self, heard: &mut Consumer) -> Option<Entry> {
        let ring = self.layout.guest_to_dom0(self.dom0.memory());
        heard.pop(&ring).unwrap()
    }
}

#[test]
fn a_message_takes_its_bytes_along() {
    let mut relay = relay();
    let layout = relay.layout;
    let (payload, table) = (layout.payload_size(), layout.table_extents() * EXTENT_BYTES);
    let bytes: Vec<u8> = (0..payload).map(|i| i as u8 | 1).collect();
    layout.payload(relay.program.memory(), 1).write(&bytes);
    let areas = layout.table(relay.program.memory(), 1);
    areas.slice(0, table).unwrap().write(&bytes[..table]);
    let message = data(1, 5000, 2).encode();
    assert!(relay.say(&mut Producer::default(), &message));
    assert_eq!(relay.pass().unwrap(), Next::Wait);
    assert_eq!(relay.heard(&mut Consumer::default()), Some(message));
    let mut there = vec![0; payload];
    layout.payload(relay.dom0.memory(), 1).read(&mut there);
    assert_eq!(there[..5000], bytes[..5000]);
    assert_eq!(there[5000..], vec![0; payload - 5000], "and no more");
    let mut there = vec![0; table];
    let areas = layout.table(relay.dom0.memory(), 1);
    areas.slice(0, table).unwrap().read(&mut there);
    assert_eq!(there[..2 * EXTENT_BYTES], bytes[..2 * EXTENT_BYTES]);
    assert!(there[2 * EXTENT_BYTES..].iter().all(|b| *b == 0));
}

#[test]
fn what_comes_back_takes_its_bytes_along() {
    let mut relay = relay();
    let layout = relay.layout;
    let bytes = layout.payload(relay.dom0.memory(), 0);
    bytes.slice(0, 3).unwrap().write(b"abc");
    let message = ToGuest::Filled { slot: 0, len: 3 }.encode();
    let ring = layout.dom0_to_guest(relay.dom0.memory());
    assert!(Producer::default().push(&ring, &message).unwrap());
    relay.pass().unwrap();
    let ring = layout.dom0_to_guest(relay.program.memory());
    assert_eq!(Consumer::default().pop(&ring).unwrap(), Some(message));
    let mut there = [0; 4];
    let area = layout.payload(relay.program.memory(), 0);
    area.slice(0, 4).unwrap().read(&mut there);
    assert_eq!(&there, b"abc\0");
}

#[test]
fn bytes_that_no_slot_has_end_the_relay() {
    let layout = relay().layout;
    let (slots, payload) = (layout.slots() as u64, layout.payload_size() as u64);
    let extents = layout.table_extents() as u64;
    for message in [
        data(slots, 1, 1),
        data(u64::MAX, 1, 1),
        data(0, payload + 1, 1),
        data(0, u64::MAX, 1),
        data(0, 1, extents + 1),
        data(0, 1, u64::MAX),
        ToHost::Failed {
            slot: slots,
            len: 1,
        },
        ToHost::Failed {
            slot: 0,
            len: payload + 1,
        },
    ] {
        let mut relay = relay();
        relay.say(&mut Producer::default(), &message.encode());
        let error = relay.pass().unwrap_err();
        assert!(
            matches!(error, RelayError::Slot { .. }),
            "{message:?}: {error}"
        );
        assert_eq!(relay.heard(&mut Consumer::default()), None);
    }
    let mut unknown = [0; 64];
    unknown[0] = 99;
    let mut relay = relay();
    relay.say(&mut Producer::default(), &unknown);
    assert!(matches!(relay.pass(), Err(RelayError::Unknown(_))));
}

#[test]
fn a_full_ring_keeps_messages_in_order() {
    let mut relay = relay();
    let (mut said, mut heard) = (Producer::default(), Consumer::default());
    let message = |bytes| ToHost::Restored { bytes }.encode();
    for n in 0..u64::from(ENTRIES) {
        assert!(relay.say(&mut said, &message(n)));
    }
    assert_eq!(relay.pass().unwrap(), Next::Again);
    for n in 64..67 {
        assert!(relay.say(&mut said, &message(n)));
    }
    assert_eq!(relay.pass().unwrap(), Next::Retry, "nobody has read yet");
    for n in 0..67 {
        if relay.pass().unwrap() == Next::Again {
            relay.pass().unwrap();
        }
        assert_eq!(relay.heard(&mut heard), Some(message(n)));
    }
    assert_eq!(relay.pass().unwrap(), Next::Wait);
}
