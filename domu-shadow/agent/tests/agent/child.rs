//! Other processes: this program again, in another role.

use crate::rig::announcement;
use channel::agent::{AgentRendezvous, AnnouncedIn};
use channel::image::SessionId;
use channel::link::Rendezvous;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

const SOCKET: &str = "AGENT_TEST_SOCKET";
const SESSION: &str = "AGENT_TEST_SESSION";
/// Starts each line that the child says to its parent.
const MARK: &str = "child: ";

/// A process that has tried to announce a session, and waits.
pub struct Other {
    pub process: Child,
    out: BufReader<ChildStdout>,
}

impl Other {
    /// As `uid` if there is one, which takes root.
    pub fn start(socket: &Path, session: SessionId, uid: Option<u32>) -> Other {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "child::other_process",
                "--ignored",
                "--nocapture",
            ])
            .env(SOCKET, socket)
            .env(SESSION, session.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
        let mut process = command.spawn().unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        Other { process, out }
    }

    /// `ok`, or why not.
    pub fn outcome(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.out.read_line(&mut line).unwrap(),
                0,
                "the child has ended"
            );
            if let Some((_, word)) = line.trim_end().split_once(MARK) {
                return word.to_owned();
            }
        }
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "the role of another process, which other tests start"]
fn other_process() {
    let Some(socket) = std::env::var_os(SOCKET) else {
        return;
    };
    let session = std::env::var(SESSION).unwrap().parse().unwrap();
    let mut met = AgentRendezvous::connect(Path::new(&socket), &AnnouncedIn::default());
    let announced = match &mut met {
        Ok(rendezvous) => rendezvous.announce(&announcement(session)),
        Err(e) => Err(std::io::Error::other(e.to_string())),
    };
    let word = announced.map_or_else(|e| e.to_string(), |()| "ok".into());
    println!("{MARK}{word}");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
}
