//! `xl-gpu status --watch`: migrations while they are under way.
//!
//! On a terminal a few lines that are drawn anew; elsewhere a line when something has changed; with `--json` an object
//! a line.

use crate::show::progress::lines;
use protocol::status::Status;
use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal, Write};
use std::time::Duration;

/// How often the daemon is asked.
const PACE: Duration = Duration::from_millis(500);

/// Asks and shows until the daemon or the reader has gone.
pub fn watch(json: bool, mut ask: impl FnMut() -> anyhow::Result<Status>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let redraw = out.is_terminal() && !json;
    let mut shown = String::new();
    loop {
        let status = ask()?;
        let now = match json {
            true => serde_json::to_string(&status)? + "\n",
            false => lines(&status, redraw),
        };
        let text = match redraw {
            true => redrawn(&shown, &now),
            false if now == shown => String::new(),
            false => now.clone(),
        };
        shown = now;
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(()),
            result => result?,
        }
        std::thread::sleep(PACE);
    }
}

/// `now` in the place of `before`, which ends above the cursor.
fn redrawn(before: &str, now: &str) -> String {
    let mut text = String::new();
    let up = before.lines().count();
    if up > 0 {
        let _ = write!(text, "\x1b[{up}A");
    }
    for line in now.lines() {
        let _ = writeln!(text, "{line}\x1b[K");
    }
    text.push_str("\x1b[J");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_drawn_over_the_last_ones() {
        assert_eq!(redrawn("", "a\n"), "a\x1b[K\n\x1b[J");
        assert_eq!(redrawn("a\nb\n", "c\n"), "\x1b[2Ac\x1b[K\n\x1b[J");
    }
}
