//! A daemon of the test's own, and the plugin's end of its socket.

use daemon::carrier::Carrier;
use daemon::config::Config;
use daemon::cost_model::Seen;
use daemon::daemon::Daemon;
use daemon::history::Histories;
use daemon::images::Images;
use daemon::loopback::LoopbackCarrier;
use daemon::reports::Reports;
use daemon::settings::Settings;
use daemon::{events, socket};
use serde_json::{Value, json};
use spool::{Spool, SpoolConfig};
use std::io::{self, BufRead, BufReader, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longer than anything takes unless it hangs.
pub const AGES: Duration = Duration::from_secs(60);

/// A folder that goes with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("xl-gpud-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A host: daemon, programs' socket, control socket.
pub struct Host {
    pub daemon: Arc<Daemon>,
    pub programs: PathBuf,
    control: PathBuf,
    _folder: Folder,
}

impl Host {
    pub fn new() -> Host {
        Host::with(|_, _| ())
    }

    pub fn with(change: impl FnOnce(&mut Config, &mut SpoolConfig)) -> Host {
        Host::over(|programs| Box::new(programs), change)
    }

    /// Over a carrier made of the programs' own.
    pub fn over(
        carrier: impl FnOnce(LoopbackCarrier) -> Box<dyn Carrier>,
        change: impl FnOnce(&mut Config, &mut SpoolConfig),
    ) -> Host {
        let folder = Folder::new();
        let (programs, control) = (folder.0.join("programs"), folder.0.join("control"));
        let mut config = Config {
            // Nothing that is dirty is within it.
            blackout_budget: Duration::from_nanos(1),
            spool_dir: folder.0.clone(),
            ..Config::default()
        };
        let mut spool = config.spool();
        change(&mut config, &mut spool);
        let (met, happening) = LoopbackCarrier::start(&programs).unwrap();
        let daemon = Daemon::new(
            carrier(met),
            Images::new(Spool::new(spool)),
            Reports::new(None, Histories::default()),
            Settings::from(&config),
        );
        let nothing = Some(Duration::ZERO);
        daemon.costs.learn(
            [],
            Seen {
                drain: nothing,
                unload: nothing,
                detach: nothing,
                paused: nothing,
                arrive: nothing,
            },
        );
        let listener = socket::bind(&control).unwrap();
        let (running, serving) = (daemon.clone(), daemon.clone());
        std::thread::spawn(move || events::handle(&running, &happening));
        std::thread::spawn(move || socket::serve(&serving, &listener));
        Host {
            daemon,
            programs,
            control,
            _folder: folder,
        }
    }

    pub fn connect(&self) -> Talk {
        Talk::connect(&self.control).unwrap()
    }

    pub fn ask(&self, request: Value) -> Result<Value, String> {
        self.connect().ask(request)
    }

    pub fn request(&self, what: &str) -> Result<Value, String> {
        self.ask(json!({"op": "request", "domid": 0, "request": what}))
    }

    /// Waits until `count` sessions are announced.
    pub fn expect_sessions(&self, count: usize) {
        eventually("sessions are announced", || {
            self.daemon.carrier.sessions(0).unwrap().announced.len() == count
        });
    }

    /// The save conversation's first line.
    pub fn save(&self, stream: BorrowedFd<'_>) -> (Talk, Result<Value, String>) {
        let mut talk = self.connect();
        let reply = talk.ask_with(json!({"op": "save", "domid": 0, "live": true}), stream);
        (talk, reply)
    }
}

/// Waits for something that must come.
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + AGES;
    while !is_so() {
        assert!(Instant::now() < end, "it did not happen that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A connection.
pub struct Talk(BufReader<UnixStream>);

impl Talk {
    pub fn connect(socket: &Path) -> io::Result<Talk> {
        UnixStream::connect(socket).map(|stream| Talk(BufReader::new(stream)))
    }

    pub fn send(&mut self, request: Value) {
        let mut line = request.to_string();
        line.push('\n');
        self.0.get_mut().write_all(line.as_bytes()).unwrap();
    }

    pub fn ask(&mut self, request: Value) -> Result<Value, String> {
        self.send(request);
        self.reply()
    }

    pub fn ask_with(&mut self, request: Value, fd: BorrowedFd<'_>) -> Result<Value, String> {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [fd];
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        let mut line = request.to_string();
        line.push('\n');
        let sent = sendmsg(
            self.0.get_ref().as_fd(),
            &[IoSlice::new(line.as_bytes())],
            &mut ancillary,
            SendFlags::empty(),
        );
        assert_eq!(sent.unwrap(), line.len());
        self.reply()
    }

    /// The next line, whatever it is.
    pub fn line(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or(Value::Null)
    }

    fn reply(&mut self) -> Result<Value, String> {
        loop {
            let reply = self.line();
            if reply.is_null() {
                return Err("the daemon hung up".into());
            }
            if let Some(error) = reply["error"].as_str() {
                return Err(error.to_owned());
            }
            if reply.get("ok").is_some() {
                return Ok(reply["ok"].clone());
            }
        }
    }
}
