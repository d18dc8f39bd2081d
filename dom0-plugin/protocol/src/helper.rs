//! The conversation of a save or restore. The stream's descriptor travels with the first request (`SCM_RIGHTS`).

use crate::ram::{RamFigures, RamLimits};
use serde::{Deserialize, Serialize};
use stream::RecordHeader;

/// A request of the plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Request {
    /// First line on the saving side, with the stream's descriptor: the reply is [`Sessions`].
    Save { domid: u32, live: bool },
    /// The stream stands at a record boundary and the guest runs: send a round. The reply is [`Round`].
    Precopy {
        /// Rounds of memory sent so far.
        iteration: u32,
        /// Memory pages to send in the coming round; -1 when not known.
        dirty_pages: i64,
    },
    /// The guest is about to be suspended, or its devices must go: send the rest and the seal, unmap every grant, detach
    /// its PCI devices. An error reply means that the programs have, or will have, their GPU state back and run on.
    Stop,
    /// The guest is suspended (or that failed).
    Suspended {
        ok: bool,
        /// How long libxl took for it, in nanoseconds.
        #[serde(default)]
        took_ns: u64,
    },
    /// First line on the restoring side, with the stream's descriptor.
    Restore { domid: u32 },
    /// A record of ours stands in the stream, its header already read: the reply is [`HandedBack`].
    Records(RecordHeader),
    /// The stream stands at a record boundary, and RAM is about to be pre-copied: write the head of the GPU's image now, so
    /// that a receiver that does not know it refuses before all that.
    Head,
    /// RAM has been pre-copied a bit further.
    Ram(RamFigures),
    /// The last line: what libxenguest returned. A connection that closes without it is an abort.
    Done {
        rc: i32,
        /// Where PCI devices were detached.
        #[serde(skip_serializing_if = "Option::is_none")]
        ram: Option<RamFigures>,
    },
}

/// Reply to [`Request::Save`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// GPU sessions of the domain; with 0 the plugin says no more.
    pub sessions: u32,
    /// PCI devices assigned to it that the daemon will detach at [`Request::Stop`]. Where there are any, that has to come before
    /// log-dirty is switched on.
    #[serde(default)]
    pub devices: u32,
    /// How RAM is to be pre-copied before devices are detached; without it not at all.
    pub ram: Option<RamLimits>,
}

/// Reply to [`Request::Records`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedBack {
    /// Of the first record that is not ours.
    #[serde(flatten)]
    pub header: RecordHeader,
    /// For the administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Reply to [`Request::Precopy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    pub round: u32,
    /// Bytes sent in this round.
    pub bytes: u64,
    /// Bytes known to be dirty again.
    pub dirty_bytes: u64,
    /// What the GPU side wants next.
    pub next: Next,
}

/// What the GPU side wants after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Next {
    /// Another round; memory may have to wait for that.
    Round,
    /// Another round, and no stop before it says something else: the operator holds it.
    Hold,
    /// The stop, as soon as memory is ready.
    Stop,
    /// The stop now, whether memory is ready or not: the operator forces it.
    Force,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::{Done, Reply};
    use crate::ram::RamPass;

    fn json<T: Serialize>(value: &T) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn requests() {
        assert_eq!(
            json(&Request::Save {
                domid: 5,
                live: true
            }),
            r#"{"op":"save","domid":5,"live":true}"#
        );
        assert_eq!(
            json(&Request::Precopy {
                iteration: 0,
                dirty_pages: -1
            }),
            r#"{"op":"precopy","iteration":0,"dirty_pages":-1}"#
        );
        assert_eq!(json(&Request::Stop), r#"{"op":"stop"}"#);
        assert_eq!(
            json(&Request::Done { rc: 0, ram: None }),
            r#"{"op":"done","rc":0}"#
        );
        let ram = Request::Ram(RamFigures {
            passes: vec![RamPass {
                bytes: 8,
                seconds: 0.5,
            }],
            ..RamFigures::default()
        });
        assert!(json(&ram).starts_with(r#"{"op":"ram","passes":[{"bytes":8,"seconds":0.5}],"#));
        assert_eq!(serde_json::from_str::<Request>(&json(&ram)).unwrap(), ram);
        assert_eq!(
            json(&Request::Records(RecordHeader {
                record_type: 7,
                length: 8
            })),
            r#"{"op":"records","type":7,"length":8}"#
        );
    }

    #[test]
    fn replies() {
        let parse = |s: &str| serde_json::from_str::<Reply<HandedBack>>(s);
        for (warning, text) in [
            (None, r#"{"ok":{"type":1,"length":9}}"#),
            (
                Some("w".to_owned()),
                r#"{"ok":{"type":1,"length":9,"warning":"w"}}"#,
            ),
        ] {
            let header = RecordHeader {
                record_type: 1,
                length: 9,
            };
            let handed_back = HandedBack { header, warning };
            assert_eq!(
                format!(r#"{{"ok":{}}}"#, json(&handed_back)),
                text,
                "an earlier plugin reads the header alone"
            );
            assert_eq!(parse(text).unwrap(), Reply::Ok(handed_back));
        }
        assert_eq!(
            parse(r#"{"error":"no"}"#).unwrap(),
            Reply::Error("no".into())
        );
        assert!(matches!(
            parse(r#"{"progress":{"bytes":3}}"#).unwrap(),
            Reply::Progress(_)
        ));
        assert!(parse(r#"{"ok":{"type":1}}"#).is_err());
        // More in a reply than is needed is no reason to fail.
        assert!(matches!(
            serde_json::from_str(r#"{"ok":{"bytes":1,"seal":"x"}}"#).unwrap(),
            Reply::Ok(Done {})
        ));
    }
}
