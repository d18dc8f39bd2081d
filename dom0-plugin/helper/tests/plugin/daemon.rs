//! Stands in for `xl-gpud`: speaks its side of the conversation, with records whose content means nothing, and
//! misbehaves on request.

use std::fs::File;
use std::io::{BufRead, BufReader, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

use crate::fakes::scratch_file;

const HEAD: u32 = 0x4750_5500;
const DATA: u32 = 0xc750_5501;
const SEAL: u32 = 0xc750_5502;

/// What to do when this request comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    Refuse,
    Die,
    Hang,
    Babble,
    /// It has been upgraded to a version of another major number.
    Upgraded,
}

/// How the daemon behaves.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    pub sessions: u32,
    /// PCI devices that the domain has at the start.
    pub devices: u32,
    /// How its RAM is to be pre-copied.
    pub ram: Option<Value>,
    /// The GPU side is finished from this pre-copy request on (counted from 0).
    pub finished_at: u32,
    /// At the request of this name.
    pub mischief: Option<(&'static str, Mischief)>,
}

#[derive(Debug)]
pub struct Daemon {
    pub socket: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<String>,
    bodies: Vec<Vec<u8>>,
    /// The last figures of RAM.
    ram: Value,
}

impl Daemon {
    pub fn start(manner: Manner) -> Self {
        let socket = scratch_file();
        let listener = UnixListener::bind(&socket).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                serve(connection.unwrap(), &manner, &shared);
            }
        });
        Self { socket, state }
    }

    /// Names of the requests so far, in order; a `close` for each conversation that ended.
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Waits until the conversation is over, then as [`Daemon::requests`].
    pub fn all_requests(&self) -> Vec<String> {
        loop {
            let requests = self.requests();
            if requests.last().is_some_and(|r| r == "close") {
                return requests;
            }
            std::thread::yield_now();
        }
    }

    /// Waits until a request of this name has come.
    pub fn wait_for(&self, name: &str) {
        while !self.requests().iter().any(|r| r.starts_with(name)) {
            std::thread::yield_now();
        }
    }

    /// The last that was told of RAM.
    pub fn ram(&self) -> Value {
        self.state.lock().unwrap().ram.clone()
    }

    /// Bodies of the records read while restoring.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.state.lock().unwrap().bodies.clone()
    }
}

/// Body of the data record of a round.
pub fn body(round: u32) -> Vec<u8> {
    (0..1000 + round).map(|i| (i * 7 + round) as u8).collect()
}

struct Conversation {
    stream: File,
    rounds: u32,
    head: bool,
    sealed: bool,
}

fn serve(socket: UnixStream, manner: &Manner, state: &Mutex<State>) {
    let Some((first, stream)) = first_line(&socket) else {
        return;
    };
    let mut conversation = Conversation {
        stream,
        rounds: 0,
        head: false,
        sealed: false,
    };
    let mut lines = BufReader::new(&socket).lines();
    let mut line = Some(first);
    while let Some(text) = line {
        let request: Value = serde_json::from_str(&text).unwrap();
        let name = request["op"].as_str().unwrap().to_string();
        let detail = match name.as_str() {
            "suspended" => format!("suspended {}", request["ok"]),
            "done" => format!("done {}", request["rc"]),
            _ => name.clone(),
        };
        state.lock().unwrap().requests.push(detail);
        if name == "done" && request["ram"].is_object() {
            state.lock().unwrap().ram = request["ram"].clone();
        }
        let reply = match manner.mischief.filter(|(at, _)| *at == name) {
            Some((_, Mischief::Refuse)) => json!({"error": "the daemon's own reason"}).to_string(),
            Some((_, Mischief::Babble)) => "what?".to_string(),
            Some((_, Mischief::Upgraded)) => {
                json!({"version": {"major": 2, "minor": 0}}).to_string()
            }
            Some((_, Mischief::Hang)) => {
                while lines.next().is_some() {} // until the plugin gives up
                break;
            }
            Some((_, Mischief::Die)) => break,
            None => match conversation.answer(&request, manner, state) {
                Ok(ok) => json!({ "ok": ok }).to_string(),
                Err(e) => json!({ "error": e }).to_string(),
            },
        };
        if (&socket)
            .write_all(format!("{reply}\n").as_bytes())
            .is_err()
        {
            break;
        }
        line = lines.next().and_then(Result::ok);
    }
    state.lock().unwrap().requests.push("close".into());
}

impl Conversation {
    fn answer(
        &mut self,
        request: &Value,
        manner: &Manner,
        state: &Mutex<State>,
    ) -> Result<Value, String> {
        match request["op"].as_str().unwrap() {
            "save" => Ok(
                json!({"sessions": manner.sessions, "devices": manner.devices, "ram": manner.ram}),
            ),
            // Devices are away: there is nothing to send, only orders of the operator to hear.
            "precopy" if self.sealed => {
                Ok(json!({"round": 0, "bytes": 0, "dirty_bytes": 0, "next": "stop"}))
            }
            "precopy" => {
                let round = self.rounds;
                self.send_round()?;
                let next = match round >= manner.finished_at {
                    true => "stop",
                    false => "round",
                };
                Ok(json!({"round": round, "bytes": 1000, "dirty_bytes": 10, "next": next}))
            }
            "stop" => {
                self.send_round()?;
                self.write(SEAL, b"the end")?;
                Ok(json!({"bytes": 1}))
            }
            "records" => {
                let number = |name: &str| request[name].as_u64().unwrap() as u32;
                self.records(number("type"), number("length"), state)
            }
            "head" => {
                self.head = true;
                self.write(HEAD, b"head of the image").map(|()| json!({}))
            }
            "ram" => {
                state.lock().unwrap().ram = request.clone();
                Ok(json!({}))
            }
            "done" if request["rc"] == 0 && self.head && !self.sealed => Err("no seal".into()),
            _ => Ok(json!({})),
        }
    }

    fn send_round(&mut self) -> Result<(), String> {
        if !self.head {
            self.write(HEAD, b"head of the image")?;
            self.head = true;
        }
        self.rounds += 1;
        self.write(DATA, &body(self.rounds))
    }

    fn write(&mut self, kind: u32, body: &[u8]) -> Result<(), String> {
        if kind == SEAL {
            self.sealed = true;
        }
        let mut record = [kind.to_le_bytes(), (body.len() as u32).to_le_bytes()].concat();
        record.extend_from_slice(body);
        record.resize(record.len().next_multiple_of(8), 0);
        self.stream.write_all(&record).map_err(|e| e.to_string())
    }

    fn records(
        &mut self,
        mut kind: u32,
        mut length: u32,
        state: &Mutex<State>,
    ) -> Result<Value, String> {
        while [HEAD, DATA, SEAL].contains(&kind) {
            self.head |= kind == HEAD;
            self.sealed |= kind == SEAL;
            let mut body = vec![0; (length as usize).next_multiple_of(8)];
            self.stream
                .read_exact(&mut body)
                .map_err(|e| e.to_string())?;
            body.truncate(length as usize);
            state.lock().unwrap().bodies.push(body);
            let mut header = [0u8; 8];
            self.stream
                .read_exact(&mut header)
                .map_err(|e| e.to_string())?;
            kind = u32::from_le_bytes(header[..4].try_into().unwrap());
            length = u32::from_le_bytes(header[4..].try_into().unwrap());
        }
        match kind == 0 && !self.sealed {
            true => Err("END without a seal".into()),
            false => Ok(json!({"type": kind, "length": length})),
        }
    }
}

fn first_line(socket: &UnixStream) -> Option<(String, File)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut line = [0u8; 512];
    let got = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut line)],
        &mut ancillary,
        RecvFlags::empty(),
    )
    .ok()?;
    let stream = ancillary.drain().find_map(|m| match m {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let text = String::from_utf8(line[..got.bytes].to_vec()).unwrap();
    Some((text.trim_end().to_string(), File::from(stream?)))
}

/// A socket at which nobody listens any more.
pub fn dead_socket() -> PathBuf {
    let path = scratch_file();
    drop(UnixListener::bind(&path).unwrap());
    assert!(Path::new(&path).exists());
    path
}
