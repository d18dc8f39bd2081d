//! Commands that the daemon runs, with an end to its patience.

use rustix::fs::MemfdFlags;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a running command is looked at.
const TICK: Duration = Duration::from_millis(10);
/// Most that is kept of what a command says, in bytes.
const KEPT: u64 = 64 << 10;

/// How long one that was killed may take to end.
const KILLED: Duration = Duration::from_secs(2);

/// A process that was started.
trait Process: Send + 'static {
    fn kill(&mut self) -> io::Result<()>;
    fn has_ended(&mut self) -> io::Result<bool>;
    /// Waits for its end, however long that takes.
    fn reap(&mut self);
}

impl Process for Child {
    fn kill(&mut self) -> io::Result<()> {
        Child::kill(self)
    }

    fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.try_wait()?.is_some())
    }

    fn reap(&mut self) {
        let _ = self.wait();
    }
}

/// Kills it; whether it has ended within `patience`. One that waits in the kernel, for a device's reset say, does not: it is left to a
/// thread of its own.
fn kill(mut process: impl Process, patience: Duration) -> bool {
    // One that has ended cannot be killed any more.
    let _ = process.kill();
    let started = Instant::now();
    while !matches!(process.has_ended(), Ok(true)) {
        if started.elapsed() >= patience {
            let reaper = std::thread::Builder::new().name("reaper".into());
            // Without a thread it stays a zombie until this daemon ends.
            let _ = reaper.spawn(move || process.reap());
            return false;
        }
        std::thread::sleep(TICK);
    }
    true
}

/// Runs `program` with `arguments` and `variables` and waits for it; what it said. An error where it fails, with its
/// last words, or where it takes longer than `patience`: then it is killed.
pub fn run(
    program: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
    patience: Duration,
) -> io::Result<String> {
    let named = || {
        let words = std::iter::once(&program).chain(arguments);
        let words: Vec<&str> = words.copied().collect();
        words.join(" ")
    };
    // Not a pipe: nobody has to empty it, and a child that it leaves behind holds up nothing.
    let mut said = File::from(rustix::fs::memfd_create("said", MemfdFlags::CLOEXEC)?);
    let mut child = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .env_remove("LD_PRELOAD")
        .env_remove("LIBXL_SAVE_HELPER")
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said.try_clone()?)
        .spawn()
        .map_err(|e| io::Error::new(e.kind(), format!("{program}: {e}")))?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() >= patience {
            let how = match kill(child, KILLED) {
                true => "",
                false => ", nor when it was killed: it hangs in dom0's kernel",
            };
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("`{}` did not end within {patience:?}{how}", named()),
            ));
        }
        std::thread::sleep(TICK);
    };
    let length = said.seek(SeekFrom::End(0))?;
    said.seek(SeekFrom::Start(length.saturating_sub(KEPT)))?;
    let mut bytes = Vec::new();
    said.take(KEPT).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match status.success() {
        true => Ok(text),
        false => Err(io::Error::other(format!(
            "`{}` failed ({status}): {}",
            named(),
            last_words(&text)
        ))),
    }
}

fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    match lines.len() {
        0 => "it said nothing".into(),
        n => lines[n.saturating_sub(3)..].join(" / "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str, patience: Duration) -> io::Result<String> {
        run("/bin/sh", &["-c", script], &[("WHAT", "gpu")], patience)
    }

    #[test]
    fn what_it_says_comes_back() {
        assert_eq!(
            shell("echo a $WHAT; echo b >&2", LONG).unwrap(),
            "a gpu\nb\n"
        );
    }

    #[test]
    fn a_failure_is_told_with_its_last_words() {
        let error = shell("seq 9; echo no such device >&2; exit 3", LONG).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.ends_with("8 / 9 / no such device"), "{text}");
        let error = run("/nonexistent/xl", &[], &[], LONG).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/xl"), "{error}");
    }

    #[test]
    fn one_that_hangs_is_ended() {
        let error = shell("exec sleep 1000", Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// Ends when it is reaped, as one does that waits in the kernel.
    struct Hangs(std::sync::mpsc::Sender<&'static str>);

    impl Process for Hangs {
        fn kill(&mut self) -> io::Result<()> {
            self.0.send("killed").map_err(io::Error::other)
        }

        fn has_ended(&mut self) -> io::Result<bool> {
            Ok(false)
        }

        fn reap(&mut self) {
            self.0.send("reaped").unwrap();
        }
    }

    #[test]
    fn one_that_hangs_in_the_kernel_holds_up_nobody() {
        let (did, done) = std::sync::mpsc::channel();
        assert!(!kill(Hangs(did), Duration::from_millis(20)));
        assert_eq!(done.recv().unwrap(), "killed");
        assert_eq!(done.recv().unwrap(), "reaped");
    }

    #[test]
    fn a_child_left_behind_holds_up_nothing() {
        let text = shell("sleep 5 & echo there", Duration::from_secs(4)).unwrap();
        assert_eq!(text, "there\n");
    }
}
