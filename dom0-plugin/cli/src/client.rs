//! The CLI's end of the daemon's socket.

use anyhow::{Context, bail};
use protocol::control::Control;
use protocol::conversation::{Caller, CallerEnd, ReplyError};
use protocol::status::{DomainStatus, Status};
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A daemon that says nothing for so long hangs: while it works it says so every second.
const SILENCE: Duration = Duration::from_secs(60);

/// A connection.
pub struct Client {
    stream: BufReader<UnixStream>,
    end: CallerEnd,
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
            end: CallerEnd::new(Caller::CommandLine),
        })
    }

    /// Asks and waits for the answer.
    pub fn ask<T: DeserializeOwned>(&mut self, control: &Control) -> anyhow::Result<T> {
        let line = self.end.ask(control)?;
        self.stream
            .get_mut()
            .write_all(&line)
            .context("xl-gpud has gone")?;
        loop {
            let mut line = Vec::new();
            let got = self.stream.read_until(b'\n', &mut line);
            if got.context("xl-gpud does not answer")? == 0 {
                bail!("xl-gpud has gone; its log says why");
            }
            match self.end.hear(&line) {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => {}
                Err(ReplyError::Garbled(e)) => {
                    return Err(e).context("xl-gpud's answer makes no sense");
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// The status, of one domain only where one is named.
    pub fn status(&mut self, domain: Option<&str>) -> anyhow::Result<Status> {
        let mut status: Status = self.ask(&Control::Status)?;
        if domain.is_some() {
            let domid = find(&status.domains, domain)?;
            status.domains.retain(|d| d.domid == domid);
        }
        Ok(status)
    }

    /// The number of a domain given by number or name; the only one there is where none is given.
    pub fn find(&mut self, domain: Option<&str>) -> anyhow::Result<u32> {
        if let Some(domid) = domain.and_then(|d| d.parse().ok()) {
            return Ok(domid);
        }
        find(&self.ask::<Status>(&Control::Status)?.domains, domain)
    }
}

fn find(domains: &[DomainStatus], domain: Option<&str>) -> anyhow::Result<u32> {
    let found = match domain {
        Some(wanted) => domains
            .iter()
            .find(|d| d.name == wanted || wanted.parse() == Ok(d.domid))
            .with_context(|| {
                format!("no domain `{wanted}` has GPU sessions here; `xl-gpu status` lists those that do")
            })?,
        None => match domains {
            [only] => only,
            [] => bail!("no domain has GPU sessions"),
            _ => bail!("several domains have GPU sessions; name one of those that `xl-gpu status` lists"),
        },
    };
    Ok(found.domid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::status::Published;

    fn domain(domid: u32, name: &str) -> DomainStatus {
        DomainStatus {
            domid,
            name: name.into(),
            published: Published::default(),
            busy: None,
            progress: None,
            sessions: Vec::new(),
            images: Vec::new(),
            report: None,
        }
    }

    #[test]
    fn domains_are_found_by_name_number_or_being_alone() {
        let two = [domain(4, "web"), domain(7, "12")];
        assert_eq!(find(&two, Some("web")).unwrap(), 4);
        assert_eq!(find(&two, Some("7")).unwrap(), 7);
        let error = find(&two, Some("db")).unwrap_err();
        assert!(error.to_string().contains("`db`"));
        assert!(find(&two, None).is_err());
        assert_eq!(find(&[domain(0, "loopback")], None).unwrap(), 0);
    }
}
