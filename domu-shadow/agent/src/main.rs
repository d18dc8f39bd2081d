//! `xl-gpu-agent`: see `docs/agent.md`.

use agent::limits::Limits;
use agent::service::{self, Service};
use agent::xen::Devices;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

const USAGE: &str = "\
usage: xl-gpu-agent [--socket PATH] [--sessions N] [--sessions-per-user N]

Lends GPU sessions of users without rights what they need to be moved with their guest.

  --socket PATH          listen there (default: the socket that systemd passes, or /run/xl-gpu/agent.sock)
  --sessions N           serve so many programs at once, of all users (default 48)
  --sessions-per-user N  and of each user (default 16)
  --version              say which version this is
";

struct Options {
    socket: Option<PathBuf>,
    limits: Limits,
}

/// What the command line asks for; the text to print where that is all.
fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, (String, ExitCode)> {
    let mut options = Options {
        socket: None,
        limits: Limits::default(),
    };
    let wrong = |what: String| (format!("xl-gpu-agent: {what}\n{USAGE}"), ExitCode::from(2));
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let missing = || wrong(format!("{argument} needs a value"));
            arguments.next().ok_or_else(missing)
        };
        let number = |text: String| match text.parse() {
            Ok(number) if (1..=64).contains(&number) => Ok(number),
            _ => Err(wrong(format!("`{text}` is not a number from 1 to 64"))),
        };
        match argument.as_str() {
            "--socket" => options.socket = Some(value()?.into()),
            "--sessions" => options.limits.sessions = number(value()?)?,
            "--sessions-per-user" => options.limits.sessions_of_user = number(value()?)?,
            "--help" | "-h" => return Err((USAGE.into(), ExitCode::SUCCESS)),
            "--version" => {
                let version = format!("xl-gpu-agent {}\n", env!("CARGO_PKG_VERSION"));
                return Err((version, ExitCode::SUCCESS));
            }
            other => return Err(wrong(format!("unknown argument `{other}`"))),
        }
    }
    Ok(options)
}

/// The listening socket that systemd passes (sd_listen_fds(3)).
fn passed_socket() -> Option<OwnedFd> {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    let passed = is("LISTEN_PID", &std::process::id().to_string()) && is("LISTEN_FDS", "1");
    // SAFETY: descriptor 3 is this process's to use, by systemd's word, and nothing else has taken it.
    passed.then(|| unsafe { OwnedFd::from_raw_fd(3) })
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err((text, code)) => {
            if code == ExitCode::SUCCESS {
                print!("{text}");
            } else {
                eprint!("{text}");
            }
            return code;
        }
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_timestamp(None)
        .init();
    let listener = match (options.socket, passed_socket()) {
        (None, Some(passed)) => Ok(passed),
        (path, _) => {
            let path = path.unwrap_or_else(|| channel::agent::SOCKET.into());
            service::bind(&path).map_err(|e| format!("cannot listen at {}: {e}", path.display()))
        }
    };
    let failed = |what: String| {
        log::error!("{what}");
        ExitCode::FAILURE
    };
    match listener {
        Ok(listener) => {
            let service = Service::new(Arc::new(Devices), options.limits.of_this_guest());
            match service.run(listener.as_fd()) {
                Ok(never) => match never {},
                Err(e) => failed(e.to_string()),
            }
        }
        Err(e) => failed(e),
    }
}
