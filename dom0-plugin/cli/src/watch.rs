//! `xl-gpu status --watch`: migrations while they are under way.
//!
//! On a terminal a few lines that are drawn anew; elsewhere a line when something has changed; with `--json` an object
//! a line.

use super::show::bytes;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal, Write};
use std::time::Duration;

/// How often the daemon is asked.
const PACE: Duration = Duration::from_millis(500);
/// Characters of a full bar.
const BAR: usize = 30;

/// Asks and shows until the daemon or the reader has gone.
pub fn watch(json: bool, mut ask: impl FnMut() -> anyhow::Result<Value>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let redraw = out.is_terminal() && !json;
    let mut shown = String::new();
    loop {
        let status = ask()?;
        let now = match json {
            true => format!("{status}\n"),
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

fn lines(status: &Value, wide: bool) -> String {
    let mut out = String::new();
    let domains = status["domains"].as_array().map_or(&[][..], Vec::as_slice);
    for domain in domains {
        let name = domain["name"].as_str().unwrap_or_default();
        let _ = write!(out, "{name} ({}): ", domain["domid"]);
        let progress = &domain["progress"];
        if progress.is_object() {
            out.push_str(&one(progress, wide));
        } else {
            out.push_str(domain["state"].as_str().unwrap_or_default());
            match domain["error"].as_str() {
                None | Some("") => {}
                Some(error) => {
                    let _ = write!(out, ", {error}");
                }
            }
        }
        out.push('\n');
    }
    if domains.is_empty() {
        out.push_str("no GPU sessions\n");
    }
    out
}

fn seconds(ms: &Value) -> String {
    match ms.as_u64() {
        Some(ms) if ms < 10_000 => format!("{ms} ms"),
        Some(ms) => format!("{} s", ms / 1000),
        None => "unknown".into(),
    }
}

fn one(progress: &Value, wide: bool) -> String {
    let word = |name: &str| progress[name].as_str().unwrap_or_default();
    let number = |name: &str| progress[name].as_u64().unwrap_or(0);
    let mut out = match word("phase") {
        "opening" => return "opening sessions".into(),
        "round" => format!("round {}", progress["round"]),
        "between" => format!("after round {}", progress["round"]),
        "stop" => "stop".into(),
        _ => return format!("GPU state has left after {}", seconds(&progress["elapsed"])),
    };
    match word("wish") {
        "none" => {}
        wish => {
            let _ = write!(out, " ({wish})");
        }
    }
    let moving = ["round", "stop"].contains(&word("phase"));
    if wide && moving {
        let part = number("bytes") as f64 / number("expected").max(1) as f64;
        let full = (part.min(1.0) * BAR as f64) as usize;
        let _ = write!(out, " [{:<BAR$}]", "#".repeat(full));
    }
    if moving {
        let (sent, of) = (bytes(&progress["bytes"]), bytes(&progress["expected"]));
        let _ = write!(out, " {sent} of {of}");
        if number("copies") > 0 {
            let _ = write!(out, ", {} by reference", bytes(&progress["copies"]));
        }
        if number("zero") > 0 {
            let _ = write!(out, ", {} of zeros", bytes(&progress["zero"]));
        }
    }
    if progress["dirty"].is_u64() {
        let rate = bytes(&progress["rate"]);
        let (predicted, budget) = (
            seconds(&progress["predicted"]),
            seconds(&progress["budget"]),
        );
        let _ = write!(
            out,
            ", {} dirty, {rate}/s, predicted blackout {predicted} of {budget}",
            bytes(&progress["dirty"])
        );
    }
    if progress["eta"] != json!(0) && progress["eta"].is_u64() {
        let _ = write!(out, ", stop in {}", seconds(&progress["eta"]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Value {
        json!({"domains": [
            {"name": "web", "domid": 4, "state": "migrating", "error": "", "progress": {
                "phase": "round", "wish": "hold", "round": 2, "bytes": 5000, "expected": 10_000,
                "copies": 4096, "zero": 0,
                "dirty": 20_480, "rate": 102_400, "predicted": 400, "budget": 300, "eta": 25_000, "elapsed": 9
            }},
            {"name": "db", "domid": 7, "state": "failed", "error": "no room", "progress": null},
        ]})
    }

    #[test]
    fn a_line_says_where_a_migration_is() {
        assert_eq!(
            lines(&status(), false),
            "web (4): round 2 (hold) 5000 B of 9.8 KiB, 4096 B by reference, 20.0 KiB dirty, 100.0 KiB/s, \
             predicted blackout 400 ms of 300 ms, stop in 25 s\ndb (7): failed, no room\n"
        );
        assert!(lines(&status(), true).contains("[###############               ] 5000 B"));
    }

    #[test]
    fn lines_are_drawn_over_the_last_ones() {
        assert_eq!(redrawn("", "a\n"), "a\x1b[K\n\x1b[J");
        assert_eq!(redrawn("a\nb\n", "c\n"), "\x1b[2Ac\x1b[K\n\x1b[J");
    }

    #[test]
    fn what_the_daemon_leaves_out_is_no_trouble() {
        for phase in ["opening", "round", "between", "stop", "left", "new"] {
            assert!(!one(&json!({ "phase": phase }), true).is_empty());
        }
    }
}
