//! The messages of the two rings.
//!
//! Entry: a little-endian u64 that names the message, then up to seven little-endian u64 arguments in
//! the order of the fields here; unused ones are zero. An unknown number is data, not undefined
//! behaviour: it comes back as [`Unknown`] and closes the session.

#![forbid(unsafe_code)]

use crate::ring::Entry;

/// The round number of a stop-and-copy.
pub const STOP_ROUND: u32 = u32::MAX;

/// A message number this build does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown message {0} from the peer")]
pub struct Unknown(pub u64);

macro_rules! messages {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $number:literal $variant:ident { $($(#[$fmeta:meta])* $field:ident),* }),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vmeta])* $variant { $($(#[$fmeta])* $field: u64),* }),* }

        impl $name {
            /// Writes the message as a ring entry.
            pub fn encode(self) -> Entry {
                let mut words = [0u64; 8];
                match self {
                    $($name::$variant { $($field),* } => {
                        words[0] = $number;
                        let fields: &[u64] = &[$($field),*];
                        words[1..=fields.len()].copy_from_slice(fields);
                    })*
                }
                let mut entry = [0; 64];
                for (to, word) in entry.chunks_exact_mut(8).zip(words) {
                    to.copy_from_slice(&word.to_le_bytes());
                }
                entry
            }

            /// Reads a ring entry.
            #[allow(unused_mut, unused_variables)]
            pub fn decode(entry: &Entry) -> Result<$name, Unknown> {
                let mut words = entry.chunks_exact(8).map(|w| u64::from_le_bytes(w.try_into().expect("eight bytes")));
                let number = words.next().expect("64 bytes");
                match number {
                    $($number => Ok($name::$variant { $($field: words.next().expect("at most seven fields")),* }),)*
                    other => Err(Unknown(other)),
                }
            }
        }
    };
}

messages! {
    /// From dom0 to the guest.
    ToGuest {
        /// Start a capture that will become image `generation`. Answer: `Begun`.
        1 Begin { generation },
        /// Send what changed since the last round (round 0: everything) while the program runs. Answer: `RoundDone`.
        2 Round { number },
        /// Close the gate, drain the queues within `timeout_ms`, send the rest. Answer: `Stopped`.
        3 Stop { timeout_ms },
        /// Release every GPU object and unload the driver; allowed after `Stopped`. Answer: `Unloaded`.
        4 Unload {},
        /// Give the capture up (or end a checkpoint): the program goes on. Answer: `Resumed`.
        5 Resume {},
        /// Load the driver, open the gate, fetch image `generation`. Answers: `Opened`, then `Restored`.
        6 Restore { generation },
        /// The slot's batch has been copied: the slot is the guest's again.
        7 SlotFree { slot },
        /// The fetched bytes lie in the slot's payload.
        8 Filled { slot, len },
        /// dom0 cannot serve the fetch: the slot is the guest's again, and the restore fails.
        9 FetchFailed { slot },
        /// The bytes fetched are all zero; the slot is the guest's again, its payload as it was.
        10 FilledZero { slot, len },
        /// Open the gate again after `Stopped`; the capture goes on. Answer: `Reopened`. Version 2.
        11 Reopen {},
    }
}

messages! {
    /// From the guest to dom0.
    ToHost {
        /// A capture has started: what is resident now. The last three words: [`crate::link::LeftToDriver`], version 2.
        101 Begun { buffers, bytes, contexts, left, pinned },
        /// A batch lies in `slot`: `payload` bytes and `extents` table entries.
        102 Data { slot, round, payload, extents },
        /// A round is over. `dirty` bytes differ again from what was sent, or may differ. `whole` bytes lie in objects
        /// that are not compared, for the reason `why` ([`crate::guest::Whole`]). `left`, `pinned`: as in `Begun`, now.
        103 RoundDone { number, bytes, dirty, whole, why, left, pinned },
        /// Nothing runs, everything has been sent. `drain_ns`: from closed gate to idle queues; `copy_ns`: from there
        /// to the last byte, `compare_ns` of it waiting for comparisons; `examined`: bytes compared.
        104 Stopped { bytes, buffers, drain_ns, copy_ns, compare_ns, examined },
        /// No GPU object and no driver is left. `libraries`: those that stayed mapped; `devices`: GPU device nodes that the
        /// process still has open or mapped.
        105 Unloaded { unload_ns, libraries, devices },
        /// The program goes on; `blackout_ns` is how long its calls were blocked (0: never).
        106 Resumed { blackout_ns },
        /// Wants `len` bytes of `object` at `offset` in `slot`.
        107 Fetch { slot, object, offset, len },
        /// Everything has arrived. `bytes`: buffer contents fetched in this step.
        108 Restored { bytes },
        /// The last command failed: `len` bytes of text in `slot`'s payload. State as before the command.
        /// Answer: `SlotFree`.
        109 Failed { slot, len },
        /// Still at work on the last command, which has nothing to send just now.
        110 Busy {},
        /// The program goes on, its contents arrive. `blackout_ns`: calls blocked; `downtime_ns`: VCPUs paused
        /// meanwhile; `reload_ns`: driver and objects.
        111 Opened { blackout_ns, downtime_ns, reload_ns },
        /// The program goes on, and so does the capture; `blackout_ns` is how long its calls were blocked. Version 2.
        112 Reopened { blackout_ns },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_entry_decodes_or_is_named(words in proptest::array::uniform8(any::<u64>()), small in 0u64..120) {
            for first in [words[0], small] {
                let mut entry = [0u8; 64];
                for (i, w) in std::iter::once(first).chain(words[1..].iter().copied()).enumerate() {
                    entry[i * 8..i * 8 + 8].copy_from_slice(&w.to_le_bytes());
                }
                match ToHost::decode(&entry) {
                    Ok(m) => prop_assert_eq!(ToHost::decode(&m.encode()), Ok(m)),
                    Err(Unknown(n)) => prop_assert_eq!(n, first),
                }
                match ToGuest::decode(&entry) {
                    Ok(m) => prop_assert_eq!(ToGuest::decode(&m.encode()), Ok(m)),
                    Err(Unknown(n)) => prop_assert_eq!(n, first),
                }
            }
        }
    }
}
