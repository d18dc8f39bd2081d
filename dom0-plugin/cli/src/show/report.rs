//! `xl-gpu report`.

use super::ram;
use protocol::blackout::Part;
use protocol::report::{PrecopyEnd, Report};
use protocol::text::{bytes, left_to_driver};
use std::fmt::Write as _;
use std::time::Duration;

/// How a migration went, as far as this end knows.
pub fn outcome(report: &Report) -> String {
    match (report.ok, &report.error) {
        (Some(true), _) => "went through".into(),
        (Some(false), Some(error)) => format!("failed: {error}"),
        (Some(false), None) => "failed".into(),
        (None, _) => "under way".into(),
    }
}

fn why(ended: PrecopyEnd) -> &'static str {
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
pub fn text(report: &Report) -> String {
    let mut out = format!(
        "domain {}, {}: {}\n",
        report.domid,
        report.role,
        outcome(report)
    );
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
            let _ = writeln!(out, "    {left}");
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
        let _ = writeln!(out, "  {why}");
    }
    if let Some(stops) = report.stops.filter(|stops| *stops > 1) {
        let _ = writeln!(
            out,
            "  stopped {stops} times until all programs were at rest"
        );
    }
    let seconds = |time: Option<Duration>| time.map(|t| t.as_secs_f64());
    let part = |part| seconds(report.blackout.get(part));
    for (name, seconds) in [
        ("predicted blackout", report.predicted_blackout_s),
        ("GPU calls blocked", seconds(report.blackout.whole())),
        ("of it VCPUs paused", report.vm_downtime_s),
        ("stopping in all", report.stop_s),
        ("draining queues", part(Part::Drain)),
        ("last chunks", part(Part::Copy)),
        ("of it only comparing", report.compare_s),
        ("seal and record", part(Part::Seal)),
        ("unloading the driver", part(Part::Unload)),
        ("unmapping pages", part(Part::Close)),
        ("detaching PCI devices", part(Part::Detach)),
        ("memory without the GPU", part(Part::Memory)),
        ("suspending", part(Part::Suspend)),
        ("the rest of memory", part(Part::Transfer)),
        ("resuming", part(Part::Resume)),
        ("opening sessions", part(Part::Connect)),
        ("attaching PCI devices", part(Part::Attach)),
        ("loading the driver again", part(Part::Reload)),
        ("elsewhere and in between", seconds(report.blackout.rest())),
        ("until all had arrived", report.restore_s),
        ("total here", report.total_s),
    ] {
        if let Some(seconds) = seconds {
            let _ = writeln!(out, "  {name:<28}{seconds:>12.3} s");
        }
    }
    out += &report.ram.as_ref().map(ram::lines).unwrap_or_default();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::report::{GpuBytes, Role};

    #[test]
    fn a_report_lists_rounds_and_only_known_times() {
        let mut report = Report::new(Role::Source, 5);
        report.ok = Some(true);
        report.gpu_bytes = GpuBytes {
            precopy: vec![1024, 10],
            stop: 5,
            copies: 20480,
            zero: 0,
        };
        report.total_s = Some(2.5);
        let shown = text(&report);
        assert!(
            shown.starts_with("domain 5, source: went through\n"),
            "{shown}"
        );
        assert!(shown.contains("of it by reference"), "{shown}");
        assert!(shown.contains("20.0 KiB\n"), "{shown}");
        assert!(!shown.contains("as zeros"), "{shown}");
        assert!(shown.contains("pre-copy round 1"), "{shown}");
        assert!(shown.contains("2.500 s"), "{shown}");
        assert!(!shown.contains("draining"), "{shown}");
    }
}
