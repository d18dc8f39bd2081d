//! `xl-gpu report`.

use super::history::moment;
use super::page::Width;
use super::style::{BAD, GOOD, HEADING, ODD, paint};
use super::{part, ram};
use protocol::blackout::Part;
use protocol::report::{PrecopyEnd, Report};
use protocol::text::{bytes, left_to_driver, span};
use std::fmt::Write as _;
use std::time::Duration;

/// How a migration went, as far as this end knows, in colour; why not is told beside it.
pub fn outcome(report: &Report) -> String {
    match (report.ok, report.refused) {
        (Some(true), _) => paint(GOOD, "went through"),
        (Some(false), false) => paint(BAD, "failed"),
        (Some(false), true) => paint(ODD, "refused"),
        (None, _) => "under way".into(),
    }
}

/// Why pre-copy ended.
pub fn why(ended: PrecopyEnd) -> &'static str {
    match ended {
        PrecopyEnd::Budget => "the predicted blackout was within the budget",
        PrecopyEnd::FixedCosts => "the fixed costs alone exceed the budget",
        PrecopyEnd::NoHelp => "rounds no longer helped",
        PrecopyEnd::Rounds => "the limit of rounds",
        PrecopyEnd::Time => "the limit of time",
        PrecopyEnd::Bytes => "the limit of bytes",
        PrecopyEnd::Forced => "the operator forced it",
    }
}

/// Sessions, rounds, and the times that are known.
pub fn text(report: &Report, width: Width) -> String {
    let name = match report.name.is_empty() {
        true => format!("domain {}", report.domid),
        false => format!("{} ({})", report.name, report.domid),
    };
    let mut out = format!(
        "{}, {}, {} UTC: {}\n",
        paint(HEADING, &name),
        report.role,
        moment(report.started),
        outcome(report)
    );
    if let Some(error) = &report.error {
        out += &width.wrap(2, error);
    }
    for session in &report.sessions {
        let _ = writeln!(
            out,
            "  session {}  {} (pid {})  {}",
            session.key.session,
            session.program,
            session.pid,
            bytes(session.bytes)
        );
        if let Some(left) = left_to_driver(session.left_to_driver) {
            out += &width.wrap(4, &left);
        }
    }
    let sent = &report.gpu_bytes;
    let rounds = sent.precopy.iter().enumerate();
    let rounds = rounds.map(|(number, round)| (format!("pre-copy round {number}"), *round));
    let known = [
        ("of it by reference", sent.copies),
        ("beside it, as zeros", sent.zero),
    ];
    let known = known.into_iter().filter(|(_, count)| *count > 0);
    let lines = rounds
        .chain([("stop-and-copy".to_owned(), sent.stop)])
        .chain(known.map(|(name, count)| (name.to_owned(), count)));
    for (name, count) in lines {
        let _ = writeln!(out, "  {name:<28}{:>14}", bytes(count));
    }
    if let Some(ended) = report.precopy.as_ref().and_then(|precopy| precopy.ended) {
        let _ = writeln!(out, "  pre-copy ended: {}", why(ended));
    }
    if let Some(why) = &report.uncompared {
        out += &width.wrap(2, why);
    }
    if let Some(stops) = report.stops.filter(|stops| *stops > 1) {
        let _ = writeln!(
            out,
            "  stopped {stops} times until all programs were at rest"
        );
    }
    let seconds = |time: Option<Duration>| time.map(|t| t.as_secs_f64());
    let mut line = |name: &str, seconds: Option<f64>| {
        if let Some(seconds) = seconds {
            let _ = writeln!(out, "  {name:<28}{:>14}", span(seconds));
        }
    };
    line("predicted blackout", report.predicted_blackout_s);
    line("GPU calls blocked", seconds(report.blackout.whole()));
    line("of it VCPUs paused", report.vm_downtime_s);
    line("stopping in all", report.stop_s);
    for part in Part::ALL {
        line(part::name(part), seconds(report.blackout.get(part)));
        if part == Part::Copy {
            line("of it only comparing", report.compare_s);
        }
    }
    line("elsewhere and in between", seconds(report.blackout.rest()));
    line("until all had arrived", report.restore_s);
    line("total here", report.total_s);
    out += &report.ram.as_ref().map(ram::lines).unwrap_or_default();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstream::adapter::strip_str;
    use protocol::report::{GpuBytes, Role};

    #[test]
    fn a_report_lists_rounds_and_only_known_times() {
        let mut report = Report::new(Role::Source, 5);
        report.started = 0;
        report.ok = Some(true);
        report.gpu_bytes = GpuBytes {
            precopy: vec![1024, 10],
            stop: 5,
            copies: 20480,
            zero: 0,
        };
        report.total_s = Some(2.5);
        let shown = strip_str(&text(&report, Width::TERMINAL)).to_string();
        assert!(
            shown.starts_with("domain 5, source, 1970-01-01 00:00 UTC: went through\n"),
            "{shown}"
        );
        assert!(shown.contains("of it by reference"), "{shown}");
        assert!(shown.contains("20.0 KiB\n"), "{shown}");
        assert!(!shown.contains("as zeros"), "{shown}");
        assert!(shown.contains("pre-copy round 1"), "{shown}");
        assert!(shown.contains("2.50 s"), "{shown}");
        assert!(!shown.contains("draining"), "{shown}");
    }

    #[test]
    fn a_failure_says_why() {
        let mut report = Report::new(Role::Source, 5);
        (report.ok, report.name) = (Some(false), "web".into());
        report.error = Some("the stream: Broken pipe".into());
        let shown = strip_str(&text(&report, Width::TERMINAL)).to_string();
        assert!(shown.contains("web (5), source, "), "{shown}");
        assert!(
            shown.contains(": failed\n  the stream: Broken pipe\n"),
            "{shown}"
        );
    }
}
