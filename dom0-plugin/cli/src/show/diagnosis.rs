//! `xl-gpu doctor`.

use protocol::diagnosis::Diagnosis;
use std::fmt::Write as _;

/// Findings, each with its remedy, and the verdict.
pub fn text(diagnosis: &Diagnosis) -> String {
    let mut out = String::new();
    for finding in &diagnosis.findings {
        let severity = format!("{}:", finding.severity);
        let (subject, what, code) = (&finding.subject, &finding.what, finding.code);
        let _ = writeln!(out, "{severity:<9}{subject}: {what} [{code}]");
        if !finding.remedy.is_empty() {
            let _ = writeln!(out, "{:<9}-> {}", "", finding.remedy);
        }
    }
    let verdict = match diagnosis.can_migrate {
        true => "could migrate now",
        false => "cannot migrate now",
    };
    let _ = writeln!(
        out,
        "{} ({}), {} GPU sessions: {verdict}",
        diagnosis.name, diagnosis.domid, diagnosis.sessions
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::diagnosis::{Code, Finding};

    #[test]
    fn a_finding_goes_with_its_remedy() {
        let diagnosis = Diagnosis {
            domid: 5,
            name: "web".into(),
            sessions: 1,
            can_migrate: false,
            findings: vec![
                Finding::error(Code::SpoolFull, "spool", "too small").remedy("make it larger"),
            ],
        };
        assert_eq!(
            text(&diagnosis),
            "error:   spool: too small [spool-full]\n         -> make it larger\nweb (5), 1 GPU sessions: cannot migrate now\n"
        );
    }
}
