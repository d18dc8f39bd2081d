//! Where a stream has put which chunks of one session, as far as a fixed budget of memory goes.
//!
//! ```text
//!  digest ──> hints: slots, some of them stale ──> places: object, chunk and the digest last said of it
//! ```
//!
//! `places` is a record: it is brought up to date with every extent, in the order of the stream, so an entry is what a
//! receiver's image holds there at this point. Entries push each other out, and then nothing is known of a place; a wrong
//! one cannot arise. `hints` say where to look for a digest, and are believed only if the record agrees.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;

use channel::image::MANIFEST_OBJECT;
use twox_hash::XxHash3_128;

/// Grain at which equal contents are found, in bytes: what the guest's own comparisons use.
pub const CHUNK: u64 = 4096;

/// Octets of the secret that digests depend on.
const SECRET: usize = 192;

/// Objects' lives are counted by so many counters, which several objects may share.
const LIVES: usize = 4096;

/// Hints for one digest: as many as a line of the processor's cache has, so that looking takes one access.
const WAYS: usize = 8;

/// Bytes that a chunk takes in the tables.
const COST: usize = size_of::<Place>() + size_of::<u64>();

/// A whole, aligned chunk of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chunk {
    pub object: u64,
    /// Offset in the object by [`CHUNK`].
    pub number: u64,
}

/// Digest (low and high half), object, and number and life in one word. Object 0, the manifest, stands for none. Plain
/// words, so that the kernel gives memory only as it is used.
type Place = [u64; 4];

/// What this stream's digests of chunks depend on: nobody can choose contents by them.
pub(super) struct Secret([u8; SECRET]);

impl Secret {
    pub fn random() -> io::Result<Secret> {
        let mut secret = [0; SECRET];
        File::open("/dev/urandom")?.read_exact(&mut secret)?;
        Ok(Secret(secret))
    }

    /// The digest of a chunk's bytes.
    pub fn digest(&self, chunk: &[u8]) -> u128 {
        XxHash3_128::oneshot_with_secret(&self.0, chunk).expect("the secret is long enough")
    }
}

/// Chunks by their digest.
pub(super) struct ChunkIndex {
    places: Vec<Place>,
    /// A slot in the lower half and some of the digest in the upper: others need not be looked at.
    hints: Vec<[u64; WAYS]>,
    lives: Vec<u32>,
}

impl ChunkIndex {
    /// Nothing; no more than `bytes` of memory, but for at least one chunk.
    pub fn within(bytes: usize) -> ChunkIndex {
        let lives = LIVES * size_of::<u32>();
        let count = (bytes.saturating_sub(lives) / COST).clamp(1, u32::MAX as usize);
        ChunkIndex {
            places: vec![[0; 4]; count],
            hints: vec![[0; WAYS]; (count / WAYS).max(1)],
            lives: vec![0; LIVES],
        }
    }

    /// Where the stream has put bytes of this digest, and nothing else since.
    pub fn find(&self, digest: u128) -> Option<Chunk> {
        let hints = self.hints[self.line(digest)].iter();
        let likely = hints.filter(|hint| (**hint >> 32) as u32 == tag(digest));
        likely.map(|hint| *hint as u32).find_map(|slot| {
            let [low, high, object, rest] = self.places[slot as usize];
            let said = [low, high] == halves(digest) && object != MANIFEST_OBJECT;
            let stands = said && rest as u32 == self.lives[life(object)];
            stands.then_some(Chunk {
                object,
                number: rest >> 32,
            })
        })
    }

    /// The stream puts bytes of this digest there.
    pub fn say(&mut self, chunk: Chunk, digest: u128) {
        let Chunk { object, number } = chunk;
        if object == MANIFEST_OBJECT || number > u64::from(u32::MAX) {
            return;
        }
        let slot = self.slot(chunk);
        let [low, high] = halves(digest);
        let life = u64::from(self.lives[life(object)]);
        self.places[slot] = [low, high, object, number << 32 | life];
        // The first place stays: later chunks then follow each other there, too.
        if self.find(digest).is_none() {
            let line = self.line(digest);
            let hints = &mut self.hints[line];
            let same = hints
                .iter()
                .position(|hint| (hint >> 32) as u32 == tag(digest));
            let free = same.or(hints.iter().position(|hint| *hint == 0));
            let any = digest as usize % WAYS;
            hints[free.unwrap_or(any)] = u64::from(tag(digest)) << 32 | slot as u64;
        }
    }

    /// The stream puts something into these chunks that is not followed.
    pub fn forget(&mut self, object: u64, numbers: Range<u64>) {
        let count = (numbers.end.saturating_sub(numbers.start)).min(self.places.len() as u64);
        let number = numbers.start;
        let first = self.slot(Chunk { object, number });
        let (before, from) = self.places.split_at_mut(first);
        for place in from.iter_mut().chain(before).take(count as usize) {
            if place[2] == object && numbers.contains(&(place[3] >> 32)) {
                *place = [0; 4];
            }
        }
    }

    /// The object is gone, with all its chunks.
    pub fn forget_object(&mut self, object: u64) {
        let life = &mut self.lives[life(object)];
        *life = life.wrapping_add(1);
        if *life == 0 {
            // Entries of this counter's first life would be believed again.
            self.places.fill([0; 4]);
        }
    }

    /// Chunks of an object follow each other, so that runs of them are handled in one sweep.
    fn slot(&self, chunk: Chunk) -> usize {
        let count = self.places.len() as u64;
        let start = scaled(mixed(chunk.object), count);
        ((start + chunk.number % count) % count) as usize
    }

    fn line(&self, digest: u128) -> usize {
        scaled(halves(digest)[1], self.hints.len() as u64) as usize
    }
}

/// Of the half that does not decide on the line.
fn tag(digest: u128) -> u32 {
    (digest >> 32) as u32
}

fn halves(digest: u128) -> [u64; 2] {
    [digest as u64, (digest >> 64) as u64]
}

fn mixed(object: u64) -> u64 {
    object.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn life(object: u64) -> usize {
    scaled(mixed(object), LIVES as u64) as usize
}

/// A number below `count` for a word that may be any.
fn scaled(word: u64, count: u64) -> u64 {
    ((u128::from(word) * u128::from(count)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Event {
        Say(u64, u64, u128),
        Forget(u64, u64, u64),
        Gone(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        let say = (1..4u64, 0..12u64, 0..6u128).prop_map(|(object, number, digest)| {
            // Of different hints, too.
            Event::Say(object, number, digest << 125 | digest << 31)
        });
        prop_oneof![
            8 => say,
            2 => (1..4u64, 0..12u64, 0..12u64).prop_map(|(o, a, b)| Event::Forget(o, a.min(b), a.max(b))),
            1 => (1..4u64).prop_map(Event::Gone),
        ]
    }

    proptest! {
        /// Whatever is pushed out or forgotten: what is found is what was said last.
        #[test]
        fn what_is_found_was_said_and_stands(events in prop::collection::vec(event(), 0..200), room in 1..40usize) {
            let mut index = ChunkIndex::within(LIVES * 4 + room * COST);
            let mut said = BTreeMap::new();
            for event in events {
                match event {
                    Event::Say(object, number, digest) => {
                        index.say(Chunk { object, number }, digest);
                        said.insert((object, number), digest);
                    }
                    Event::Forget(object, from, to) => {
                        index.forget(object, from..to);
                        said.retain(|(o, n), _| *o != object || !(from..to).contains(n));
                    }
                    Event::Gone(object) => {
                        index.forget_object(object);
                        said.retain(|(o, _), _| *o != object);
                    }
                }
                for digest in (0..6u128).map(|d| d << 125 | d << 31) {
                    if let Some(Chunk { object, number }) = index.find(digest) {
                        prop_assert_eq!(said.get(&(object, number)), Some(&digest));
                    }
                }
            }
        }
    }

    #[test]
    fn with_room_for_all_everything_is_found() {
        let mut index = ChunkIndex::within(1 << 20);
        let chunk = |number| Chunk { object: 7, number };
        let digest = |n: u64| u128::from(mixed(n)) << 64 | u128::from(n);
        for n in 0..1000 {
            index.say(chunk(n), digest(n));
        }
        let found = (0..1000).filter(|n| index.find(digest(*n)) == Some(chunk(*n)));
        assert_eq!(found.count(), 1000);
    }

    #[test]
    fn a_life_that_comes_round_is_not_believed() {
        let mut index = ChunkIndex::within(1 << 20);
        let chunk = Chunk {
            object: 7,
            number: 1,
        };
        index.say(chunk, 5);
        index.lives[life(7)] = u32::MAX;
        assert_eq!(index.find(5), None);
        index.forget_object(7);
        assert_eq!((index.lives[life(7)], index.find(5)), (0, None));
    }

    #[test]
    fn a_digest_depends_on_the_secret() {
        let (a, b) = (Secret::random().unwrap(), Secret::random().unwrap());
        let chunk = [7; CHUNK as usize];
        assert_eq!(a.digest(&chunk), a.digest(&chunk));
        assert_ne!(a.digest(&chunk), b.digest(&chunk));
    }
}
