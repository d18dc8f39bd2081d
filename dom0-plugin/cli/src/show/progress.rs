//! Migrations under way, a line each: `xl-gpu status --watch`.

use protocol::progress::{Phase, Progress, StandingOrder};
use protocol::status::Status;
use protocol::text::bytes;
use std::fmt::Write as _;

/// Characters of a full bar.
const BAR: usize = 30;

/// A line for each domain, with a bar where there is room for it.
pub fn lines(status: &Status, bar: bool) -> String {
    let mut out = String::new();
    for domain in &status.domains {
        let _ = write!(out, "{} ({}): ", domain.name, domain.domid);
        match &domain.progress {
            Some(progress) => out.push_str(&line(progress, bar)),
            None => {
                let published = &domain.published;
                let _ = write!(out, "{}", published.state);
                if !published.error.is_empty() {
                    let _ = write!(out, ", {}", published.error);
                }
            }
        }
        out.push('\n');
    }
    if status.domains.is_empty() {
        out.push_str("no GPU sessions\n");
    }
    out
}

fn millis(ms: u64) -> String {
    match ms {
        ..10_000 => format!("{ms} ms"),
        _ => format!("{} s", ms / 1000),
    }
}

fn line(progress: &Progress, bar: bool) -> String {
    let round = progress.round;
    let mut out = match progress.phase {
        Phase::Opening => return "opening sessions".into(),
        Phase::Round => format!("round {round}"),
        Phase::Between => format!("after round {round}"),
        Phase::Stop => "stop".into(),
        Phase::Left => {
            return format!("GPU state has left after {}", millis(progress.elapsed));
        }
    };
    out += match progress.wish {
        StandingOrder::None => "",
        StandingOrder::Hold => " (hold)",
        StandingOrder::Force => " (force)",
    };
    if matches!(progress.phase, Phase::Round | Phase::Stop) {
        if bar {
            let part = progress.bytes as f64 / progress.expected.max(1) as f64;
            let full = (part.min(1.0) * BAR as f64) as usize;
            let _ = write!(out, " [{:<BAR$}]", "#".repeat(full));
        }
        let (sent, of) = (bytes(progress.bytes), bytes(progress.expected));
        let _ = write!(out, " {sent} of {of}");
        if progress.copies > 0 {
            let _ = write!(out, ", {} by reference", bytes(progress.copies));
        }
        if progress.zero > 0 {
            let _ = write!(out, ", {} of zeros", bytes(progress.zero));
        }
    }
    if let Some(dirty) = progress.dirty {
        let predicted = progress.predicted.map_or("unknown".into(), millis);
        let _ = write!(
            out,
            ", {} dirty, {}/s, predicted blackout {predicted} of {}",
            bytes(dirty),
            bytes(progress.rate.unwrap_or(0)),
            millis(progress.budget)
        );
    }
    if progress.left > 0 {
        let _ = write!(out, ", {} left to the driver", bytes(progress.left));
    }
    if let Some(eta) = progress.eta.filter(|eta| *eta != 0) {
        let _ = write!(out, ", stop in {}", millis(eta));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn domain(name: &str, domid: u32, state: &str, error: &str, progress: Value) -> Value {
        json!({"name": name, "domid": domid, "state": state, "error": error, "progress": progress,
               "busy": null, "sessions": [], "images": [], "report": null})
    }

    fn progress() -> Value {
        json!({"phase": "round", "wish": "hold", "round": 2, "bytes": 5000, "expected": 10_000,
               "copies": 4096, "zero": 0, "dirty": 20_480, "left": 2048, "rate": 102_400, "predicted": 400,
               "budget": 300, "eta": 25_000, "elapsed": 9})
    }

    #[test]
    fn a_line_says_where_a_migration_is() {
        let status = json!({"version": "", "carrier": "xen", "spool_memory": {"used": 0, "limit": 1}, "domains": [
            domain("web", 4, "migrating", "", progress()),
            domain("db", 7, "failed", "no room", Value::Null),
        ]});
        let status: Status = serde_json::from_value(status).unwrap();
        assert_eq!(
            lines(&status, false),
            "web (4): round 2 (hold) 5000 B of 9.8 KiB, 4096 B by reference, 20.0 KiB dirty, 100.0 KiB/s, \
             predicted blackout 400 ms of 300 ms, 2048 B left to the driver, stop in 25 s\ndb (7): failed, no room\n"
        );
        assert!(lines(&status, true).contains("[###############               ] 5000 B"));
    }

    #[test]
    fn what_is_not_known_yet_is_no_trouble() {
        for phase in ["opening", "round", "between", "stop", "left"] {
            let mut progress = progress();
            progress["phase"] = phase.into();
            for unknown in ["dirty", "rate", "predicted", "eta"] {
                progress[unknown] = Value::Null;
            }
            let progress = serde_json::from_value(progress).unwrap();
            assert!(!line(&progress, true).is_empty());
        }
    }
}
