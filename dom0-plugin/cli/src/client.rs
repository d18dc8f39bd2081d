//! The CLI's end of the daemon's socket.

use anyhow::{Context, bail};
use protocol::control::Control;
use protocol::helper::Reply;
use serde_json::Value;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A daemon that says nothing for so long hangs: while it works it says so every second.
const SILENCE: Duration = Duration::from_secs(60);

/// A connection.
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the daemon at `path`.
    pub fn connect(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path).map_err(|e| match e.kind() {
            ErrorKind::PermissionDenied => {
                anyhow::anyhow!("{} may be used by root only", path.display())
            }
            _ => anyhow::anyhow!(
                "xl-gpud cannot be reached at {} ({e}); is it running? (systemctl status xl-gpud)",
                path.display()
            ),
        })?;
        stream.set_read_timeout(Some(SILENCE))?;
        Ok(Client {
            stream: BufReader::new(stream),
        })
    }

    /// Asks and waits for the answer.
    pub fn ask(&mut self, control: &Control) -> anyhow::Result<Value> {
        let mut line = serde_json::to_vec(control)?;
        line.push(b'\n');
        self.stream
            .get_mut()
            .write_all(&line)
            .context("xl-gpud has gone")?;
        loop {
            let mut line = String::new();
            let got = self.stream.read_line(&mut line);
            if got.context("xl-gpud does not answer")? == 0 {
                bail!("xl-gpud has gone; its log says why");
            }
            match serde_json::from_str(&line).context("xl-gpud's answer makes no sense")? {
                Reply::Ok(value) => return Ok(value),
                Reply::Error(reason) => bail!(reason),
                Reply::Progress(_) => {}
            }
        }
    }
}
