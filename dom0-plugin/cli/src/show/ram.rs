//! RAM pre-copy, as `xl-gpu report` shows it.

use protocol::report::RamReport;
use protocol::text::{bytes, span};
use std::fmt::Write as _;

/// Bytes of a page of guest memory.
const PAGE: u64 = 4096;

/// Lines of a report's `ram`.
pub fn lines(ram: &RamReport) -> String {
    let mut out = String::new();
    let mut line = |name: &str, shown: String| {
        let _ = writeln!(out, "  {name:<28}{shown:>14}");
    };
    let figures = &ram.figures;
    for (number, pass) in figures.passes.iter().enumerate() {
        line(
            &format!("RAM pass {}", number + 1),
            format!("{} in {}", bytes(pass.bytes), span(pass.seconds)),
        );
    }
    if let Some(scan) = &figures.scan {
        let skipped = bytes(scan.unchanged.saturating_mul(PAGE));
        line(
            "RAM found unchanged",
            format!("{skipped} in {}", span(scan.seconds)),
        );
    }
    if let Some(reason) = &figures.given_up {
        line("RAM pre-copy given up:", reason.clone());
    }
    if let Some(sent) = figures.bytes_after_detach {
        line("RAM sent after the detach", bytes(sent));
    }
    if let Some(seconds) = ram.detach_to_suspend_s {
        line("from detach to suspend", span(seconds));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_known_is_shown() {
        let ram = serde_json::from_value(json!({
            "passes": [{"bytes": 268435456, "seconds": 2.0}, {"bytes": 9000, "seconds": 0.5}],
            "scan": {"pages": 65000, "unchanged": 64000, "seconds": 0.25, "threads": 2},
            "bytes_after_detach": 4194304, "detach_to_suspend_s": 1.5,
        }));
        let shown = lines(&ram.unwrap());
        for part in [
            "RAM pass 1",
            "256.0 MiB in 2.00 s",
            "RAM pass 2",
            "250.0 MiB in 250 ms",
            "4096.0 KiB",
            "1.50 s",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(!shown.contains("given up"));
        assert_eq!(lines(&RamReport::default()), "");
    }
}
