//! RAM pre-copy, as `xl-gpu report` shows it.

use super::show::bytes;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Bytes of a page of guest memory.
const PAGE: u64 = 4096;

/// Lines of a report's `ram`; none where there is none.
pub fn lines(ram: &Value) -> String {
    let mut out = String::new();
    let mut line = |name: &str, shown: String| {
        let _ = writeln!(out, "  {name:<28}{shown:>14}");
    };
    let seconds = |value: &Value| value.as_f64().map(|s| format!("{s:.3} s"));
    for (number, pass) in ram["passes"].as_array().into_iter().flatten().enumerate() {
        let took = seconds(&pass["seconds"]).unwrap_or_default();
        line(
            &format!("RAM pass {}", number + 1),
            format!("{} in {took}", bytes(&pass["bytes"])),
        );
    }
    if ram["scan"].is_object() {
        let scan = &ram["scan"];
        let skipped = scan["unchanged"].as_u64().unwrap_or(0).saturating_mul(PAGE);
        let took = seconds(&scan["seconds"]).unwrap_or_default();
        line(
            "RAM found unchanged",
            format!("{} in {took}", bytes(&json!(skipped))),
        );
    }
    if let Some(reason) = ram["given_up"].as_str() {
        line("RAM pre-copy given up:", reason.to_owned());
    }
    if ram["bytes_after_detach"].is_u64() {
        line(
            "RAM sent after the detach",
            bytes(&ram["bytes_after_detach"]),
        );
    }
    if let Some(shown) = seconds(&ram["detach_to_suspend_s"]) {
        line("from detach to suspend", shown);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_shown() {
        let shown = lines(&json!({
            "passes": [{"bytes": 268435456, "seconds": 2.0}, {"bytes": 9000, "seconds": 0.5}],
            "scan": {"pages": 65000, "unchanged": 64000, "seconds": 0.25, "threads": 2},
            "bytes_after_detach": 4194304, "detach_to_suspend_s": 1.5,
        }));
        for part in [
            "RAM pass 1",
            "256.0 MiB in 2.000 s",
            "RAM pass 2",
            "250.0 MiB in 0.250 s",
            "4096.0 KiB",
            "1.500 s",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(!shown.contains("given up"));
        assert_eq!(lines(&Value::Null), "");
    }
}
