//! The daemon's answers as text.

use serde_json::Value;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write};

/// Prints `value` as JSON, or as `text` shows it. A reader that has gone is no error.
pub fn print(value: &Value, json: bool, text: impl Fn(&Value) -> String) -> anyhow::Result<()> {
    let mut shown = match json {
        true => serde_json::to_string_pretty(value)?,
        false => text(value),
    };
    if !shown.ends_with('\n') {
        shown.push('\n');
    }
    match std::io::stdout().write_all(shown.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Bytes as people read them.
pub fn bytes(value: &Value) -> String {
    protocol::text::bytes(value.as_u64().unwrap_or(0))
}

/// `xl-gpu status`.
pub fn status(status: &Value) -> String {
    let mut out = String::new();
    let domains = items(&status["domains"]);
    if domains.is_empty() {
        return "no GPU sessions\n".into();
    }
    for domain in domains {
        let _ = write!(
            out,
            "{} ({}): {}",
            text(&domain["name"]),
            domain["domid"],
            text(&domain["state"])
        );
        if let Some(busy) = domain["busy"].as_str() {
            let _ = write!(out, ", now: {busy}");
        }
        out.push('\n');
        if !text(&domain["error"]).is_empty() {
            let _ = writeln!(out, "  last error: {}", text(&domain["error"]));
        }
        for session in items(&domain["sessions"]) {
            show_session(&mut out, session);
        }
        for image in items(&domain["images"]) {
            let serving = if image["serving"] == true {
                ", being served"
            } else {
                ""
            };
            let _ = writeln!(
                out,
                "  image {}/{} ({}): {} in {} objects, {} of spool{serving}",
                text(&image["session"]),
                image["generation"],
                text(&image["purpose"]),
                bytes(&image["bytes"]),
                image["objects"],
                bytes(&image["stored"]),
            );
        }
        if domain["report"].is_object() {
            let report = &domain["report"];
            let _ = writeln!(
                out,
                "  last migration ({}): {}; xl-gpu report {} shows it",
                text(&report["role"]),
                outcome_of(report),
                domain["domid"]
            );
            if let Some(why) = report["uncompared"].as_str() {
                let _ = writeln!(out, "    {why}");
            }
            let [copies, zero] = ["copies", "zero"].map(|field| &report["gpu_bytes"][field]);
            if [copies, zero].iter().any(|n| n.as_u64().unwrap_or(0) > 0) {
                let (copies, zero) = (bytes(copies), bytes(zero));
                let _ = writeln!(
                    out,
                    "    not carried: {copies} by reference, {zero} of zeros"
                );
            }
        }
    }
    out
}

fn show_session(out: &mut String, session: &Value) {
    let _ = writeln!(
        out,
        "  session {}  {} (pid {})  {}",
        text(&session["session"]),
        text(&session["program"]),
        session["pid"],
        text(&session["state"])
    );
    if let Some(reason) = session["blocked"].as_str() {
        let _ = writeln!(out, "    cannot be moved: {reason}");
    }
    if let Some(problem) = session["problem"].as_str() {
        let _ = writeln!(out, "    {problem}");
    }
}

fn outcome_of(report: &Value) -> String {
    match (report["ok"].as_bool(), report["error"].as_str()) {
        (Some(true), _) => "went through".into(),
        (Some(false), Some(error)) => format!("failed: {error}"),
        (Some(false), None) => "failed".into(),
        (None, _) => "under way".into(),
    }
}

/// `xl-gpu doctor`.
pub fn diagnosis(diagnosis: &Value) -> String {
    let mut out = String::new();
    for finding in items(&diagnosis["findings"]) {
        let _ = writeln!(
            out,
            "{:<9}{}: {}",
            format!("{}:", text(&finding["severity"])),
            text(&finding["subject"]),
            text(&finding["what"])
        );
        if !text(&finding["remedy"]).is_empty() {
            let _ = writeln!(out, "{:<9}-> {}", "", text(&finding["remedy"]));
        }
    }
    let verdict = match diagnosis["can_migrate"] == true {
        true => "could migrate now",
        false => "cannot migrate now",
    };
    let _ = writeln!(
        out,
        "{} ({}), {} GPU sessions: {verdict}",
        text(&diagnosis["name"]),
        diagnosis["domid"],
        diagnosis["sessions"]
    );
    out
}

/// `xl-gpu request`.
pub fn outcome(outcome: &Value) -> String {
    let mut out = format!(
        "{} sessions, {}",
        outcome["sessions"],
        bytes(&outcome["bytes"])
    );
    if let Some(ns) = outcome["blackout_ns"].as_u64().filter(|ns| *ns > 0) {
        let _ = write!(out, ", GPU calls waited {:.3} s", ns as f64 / 1e9);
    }
    out
}

/// `xl-gpu report`.
pub fn report(report: &Value) -> String {
    let mut out = format!(
        "domain {}, {}: {}\n",
        report["domid"],
        text(&report["role"]),
        outcome_of(report)
    );
    for session in items(&report["sessions"]) {
        let _ = writeln!(
            out,
            "  session {}  {} (pid {})  {}",
            text(&session["session"]),
            text(&session["program"]),
            session["pid"],
            bytes(&session["bytes"])
        );
    }
    let rounds = items(&report["gpu_bytes"]["precopy"]);
    for (number, round) in rounds.iter().enumerate() {
        let _ = writeln!(
            out,
            "  {:<28}{:>14}",
            format!("pre-copy round {number}"),
            bytes(round)
        );
    }
    let _ = writeln!(
        out,
        "  {:<28}{:>14}",
        "stop-and-copy",
        bytes(&report["gpu_bytes"]["stop"])
    );
    for (name, field) in [
        ("of it by reference", "copies"),
        ("beside it, as zeros", "zero"),
    ] {
        let count = &report["gpu_bytes"][field];
        if count.as_u64().is_some_and(|count| count > 0) {
            let _ = writeln!(out, "  {name:<28}{:>14}", bytes(count));
        }
    }
    if let Some(ended) = report["precopy"]["ended"].as_str() {
        let why = match ended {
            "budget" => "the predicted blackout was within the budget",
            "fixed-costs" => "the fixed costs alone exceed the budget",
            "no-help" => "rounds no longer helped",
            "rounds" => "the limit of rounds",
            "time" => "the limit of time",
            "bytes" => "the limit of bytes",
            "forced" => "the operator forced it",
            other => other,
        };
        let _ = writeln!(out, "  pre-copy ended: {why}");
    }
    if let Some(why) = report["uncompared"].as_str() {
        let _ = writeln!(out, "  {why}");
    }
    for (name, field) in [
        ("predicted blackout", "predicted_blackout_s"),
        ("GPU calls blocked", "gpu_blackout_s"),
        ("of it VCPUs paused", "vm_downtime_s"),
        ("stopping in all", "stop_s"),
        ("draining queues", "drain_s"),
        ("last chunks", "copy_s"),
        ("of it only comparing", "compare_s"),
        ("seal and record", "seal_s"),
        ("unloading the driver", "unload_s"),
        ("unmapping pages", "close_s"),
        ("detaching PCI devices", "detach_s"),
        ("memory without the GPU", "memory_s"),
        ("suspending", "suspend_s"),
        ("the rest of memory", "transfer_s"),
        ("resuming", "resume_s"),
        ("attaching PCI devices", "attach_s"),
        ("opening sessions", "connect_s"),
        ("loading the driver again", "reload_s"),
        ("until all had arrived", "restore_s"),
        ("total here", "total_s"),
    ] {
        if let Some(seconds) = report[field].as_f64() {
            let _ = writeln!(out, "  {name:<28}{:>12.3} s", seconds);
        }
    }
    out += &super::show_ram::lines(&report["ram"]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_are_readable() {
        let shown = [0u64, 9_999, 10_240, 20 << 20, 96 << 30].map(|n| bytes(&json!(n)));
        assert_eq!(shown, ["0 B", "9999 B", "10.0 KiB", "20.0 MiB", "96.0 GiB"]);
    }

    #[test]
    fn a_status_says_why_something_cannot_be_moved() {
        let shown = status(&json!({"domains": [{
            "domid": 5, "name": "web", "state": "failed", "error": "no space", "busy": null,
            "sessions": [{"session": "ab", "pid": 9, "program": "wave", "state": "attached",
                          "generation": 0, "blocked": "fine-grained SVM", "problem": null}],
            "images": [], "report": null}]}));
        assert!(shown.contains("web (5): failed"), "{shown}");
        assert!(
            shown.contains("cannot be moved: fine-grained SVM"),
            "{shown}"
        );
        assert!(shown.contains("last error: no space"), "{shown}");
    }

    #[test]
    fn a_report_lists_rounds_and_only_known_times() {
        let shown = report(
            &json!({"domid": 5, "role": "source", "ok": true, "sessions": [],
            "gpu_bytes": {"precopy": [1024, 10], "stop": 5, "copies": 20480, "zero": 0},
            "total_s": 2.5, "drain_s": null}),
        );
        assert!(shown.contains("of it by reference"), "{shown}");
        assert!(shown.contains("20.0 KiB\n"), "{shown}");
        assert!(!shown.contains("as zeros"), "{shown}");
        assert!(shown.contains("pre-copy round 1"), "{shown}");
        assert!(shown.contains("2.500 s"), "{shown}");
        assert!(!shown.contains("draining"), "{shown}");
    }
}
