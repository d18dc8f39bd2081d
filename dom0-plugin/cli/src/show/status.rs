//! `xl-gpu status`.

use super::history::moment;
use super::page::{Table, Width, cut, left, right};
use super::report;
use super::style::{BAD, FAINT, GOOD, HEADING, ODD, paint};
use anstyle::Style;
use protocol::report::Report;
use protocol::status::{DomainStatus, PublishedState, SessionStatus, Status, StoredImage};
use protocol::text::{bytes, left_to_driver, span};
use std::fmt::Write as _;

/// Each domain with its sessions, images and last migration; then the spool.
pub fn text(status: &Status, width: Width) -> String {
    if status.domains.is_empty() {
        return "no GPU sessions\n".into();
    }
    let mut out = String::new();
    for domain in &status.domains {
        show_domain(&mut out, domain, width);
    }
    let memory = &status.spool_memory;
    let spool = format!(
        "xl-gpud {}: {} of {} of spool memory in use",
        status.version,
        bytes(memory.used),
        bytes(memory.limit)
    );
    out + &paint(FAINT, width.wrap(0, &spool).trim_end()) + "\n"
}

fn show_domain(out: &mut String, domain: &DomainStatus, width: Width) {
    let state = domain.published.state;
    let style = match state {
        PublishedState::Failed => BAD,
        PublishedState::Idle | PublishedState::Attached => GOOD,
        _ => ODD,
    };
    let name = format!("{} ({})", domain.name, domain.domid);
    let _ = write!(
        out,
        "{}: {}",
        paint(HEADING, &name),
        paint(style, state.as_str())
    );
    if let Some(busy) = &domain.busy {
        let _ = write!(out, ", now: {busy}");
    }
    out.push('\n');
    if !domain.published.error.is_empty() {
        *out += &width.wrap(2, &format!("last error: {}", domain.published.error));
    }
    *out += &sessions(&domain.sessions).text(width, 2);
    *out += &images(&domain.images).text(width, 2);
    if let Some(last) = &domain.report {
        show_last(out, last, width);
    }
}

fn plain(text: impl ToString) -> (String, Style) {
    (text.to_string(), Style::new())
}

fn sessions(sessions: &[SessionStatus]) -> Table {
    let columns = [left("SESSION"), cut("PROGRAM"), right("PID"), left("STATE")];
    let mut table = Table::new(columns);
    for session in sessions {
        let style = match (&session.blocked, &session.problem, &*session.state) {
            (_, Some(_), _) | (_, _, "") => BAD,
            (Some(_), None, _) => ODD,
            (None, None, "attached") => GOOD,
            _ => ODD,
        };
        table.row([
            plain(&session.session),
            plain(&session.program),
            plain(session.pid),
            (session.state.clone(), style),
        ]);
        if let Some(reason) = &session.blocked {
            table.below(format!("cannot be moved: {reason}"));
        }
        if let Some(left) = left_to_driver(session.left_to_driver) {
            table.below(left);
        }
        if let Some(problem) = &session.problem {
            table.below(problem);
        }
    }
    table
}

fn images(images: &[StoredImage]) -> Table {
    let columns = [
        left("IMAGE"),
        left("KEPT FOR"),
        right("SIZE"),
        right("STORED"),
    ];
    let mut table = Table::new(columns);
    for image in images {
        table.row([
            plain(image.key),
            plain(image.purpose),
            plain(bytes(image.bytes)),
            plain(bytes(image.stored)),
        ]);
        if image.serving {
            table.below("is being given back");
        }
    }
    table
}

fn show_last(out: &mut String, last: &Report, width: Width) {
    let _ = write!(
        out,
        "  last migration ({}, {} UTC): {}",
        last.role,
        moment(last.started),
        report::outcome(last)
    );
    if let Some(whole) = last.blackout.whole() {
        let _ = write!(out, ", blackout {}", span(whole.as_secs_f64()));
    }
    out.push('\n');
    for more in last.error.iter().chain(&last.uncompared) {
        *out += &width.wrap(4, more);
    }
    let (copies, zero) = (last.gpu_bytes.copies, last.gpu_bytes.zero);
    if copies > 0 || zero > 0 {
        let (copies, zero) = (bytes(copies), bytes(zero));
        let _ = writeln!(
            out,
            "    not carried: {copies} by reference, {zero} of zeros"
        );
    }
    let _ = writeln!(out, "    xl-gpu report {} shows it", last.domid);
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstream::adapter::strip_str;
    use serde_json::json;

    fn status() -> Status {
        let id = "0123456789abcdef0123456789abcdef";
        serde_json::from_value(json!({
            "version": "0.1.0", "carrier": "xen", "spool_memory": {"used": 0, "limit": 1073741824},
            "domains": [{
                "domid": 5, "name": "web", "state": "failed", "error": "no space ".repeat(12), "busy": null, "progress": null,
                "sessions": [{"session": id, "pid": 9, "program": "python3 train.py --epochs 300 --batch 64", "state": "attached",
                              "generation": 0, "blocked": "fine-grained SVM", "problem": null},
                             {"session": "cd", "pid": 1000010, "program": "train", "state": "attached",
                              "generation": 0, "blocked": null, "problem": null,
                              "left_to_driver": {"contexts": 1, "bytes": 1288490188, "pinned": 0}}],
                "images": [{"session": id, "generation": 100000, "purpose": "checkpoint", "objects": 1234567,
                            "bytes": 1073741824000u64, "stored": 1073741824000u64, "serving": true}],
                "report": null}]}))
        .unwrap()
    }

    #[test]
    fn a_status_says_why_something_cannot_be_moved() {
        let shown = strip_str(&text(&status(), Width::ENDLESS)).to_string();
        assert!(shown.contains("web (5): failed"), "{shown}");
        assert!(
            shown.contains("    cannot be moved: fine-grained SVM\n"),
            "{shown}"
        );
        assert!(
            shown.contains("    left to the driver: 1228.8 MiB\n"),
            "{shown}"
        );
        assert_eq!(shown.matches("left to").count(), 1, "{shown}");
        assert!(shown.contains("last error: no space"), "{shown}");
        assert!(shown.contains("--batch 64 "), "{shown}");
    }

    #[test]
    fn it_fits_a_terminal() {
        let shown = strip_str(&text(&status(), Width::TERMINAL)).to_string();
        for line in shown.lines() {
            assert!(line.chars().count() <= 80, "{line}\n{shown}");
        }
        assert!(shown.contains("python3 train.py --epoch…"), "{shown}");
    }

    #[test]
    fn colours_are_only_in_what_is_painted() {
        let shown = text(&status(), Width::TERMINAL);
        assert!(shown.contains('\u{1b}'));
        assert!(!strip_str(&shown).to_string().contains('\u{1b}'));
    }
}
