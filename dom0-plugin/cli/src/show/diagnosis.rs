//! `xl-gpu doctor`.

use super::page::Width;
use super::style::{BAD, FAINT, GOOD, HEADING, ODD, paint};
use host::examination::HostDiagnosis;
use protocol::diagnosis::{Diagnosis, Finding, Severity};
use std::fmt::Write as _;

/// Findings, each with its remedy.
fn findings(findings: &[Finding], width: Width) -> String {
    let mut out = String::new();
    for finding in findings {
        let style = match finding.severity {
            Severity::Error => BAD,
            Severity::Warning => ODD,
            Severity::Note => FAINT,
        };
        let (subject, what, code) = (&finding.subject, &finding.what, finding.code);
        let found = width.wrap(9, &format!("{subject}: {what} [{code}]"));
        let severity = format!("{:<9}", format!("{}:", finding.severity));
        let _ = write!(out, "{}{}", paint(style, &severity), found.trim_start());
        if !finding.remedy.is_empty() {
            let remedy = width.wrap(12, &finding.remedy);
            let _ = write!(out, "{:<9}-> {}", "", remedy.trim_start());
        }
    }
    out
}

/// Of a host: findings and the verdict.
pub fn host(diagnosis: &HostDiagnosis, width: Width) -> String {
    let mut out = findings(&diagnosis.findings, width);
    let verdict = match diagnosis.ready {
        true => paint(GOOD, "GPU state moves with its guests"),
        false => paint(BAD, "GPU state would not move with its guests"),
    };
    let _ = writeln!(out, "{}: {verdict}", paint(HEADING, "this host"));
    out
}

/// Of a domain: findings and the verdict.
pub fn text(diagnosis: &Diagnosis, width: Width) -> String {
    let mut out = findings(&diagnosis.findings, width);
    let verdict = match diagnosis.can_migrate {
        true => paint(GOOD, "could migrate now"),
        false => paint(BAD, "cannot migrate now"),
    };
    let name = format!("{} ({})", diagnosis.name, diagnosis.domid);
    let sessions = diagnosis.sessions;
    let _ = writeln!(
        out,
        "{}, {sessions} GPU sessions: {verdict}",
        paint(HEADING, &name)
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstream::adapter::strip_str;
    use protocol::diagnosis::Code;

    fn diagnosis(what: &str) -> Diagnosis {
        Diagnosis {
            domid: 5,
            name: "web".into(),
            sessions: 1,
            can_migrate: false,
            findings: vec![Finding::error(Code::SpoolFull, "spool", what).remedy("make it larger")],
        }
    }

    #[test]
    fn a_host_has_a_verdict_of_its_own() {
        let diagnosis = HostDiagnosis {
            ready: false,
            findings: diagnosis("too small").findings,
        };
        let shown = strip_str(&host(&diagnosis, Width::ENDLESS)).to_string();
        assert!(shown.starts_with("error:   spool: too small [spool-full]\n"));
        assert!(shown.ends_with("this host: GPU state would not move with its guests\n"));
    }

    #[test]
    fn a_finding_goes_with_its_remedy_and_its_code() {
        let shown = text(&diagnosis("too small"), Width::ENDLESS);
        assert_eq!(
            strip_str(&shown).to_string(),
            "error:   spool: too small [spool-full]\n         -> make it larger\nweb (5), 1 GPU sessions: cannot migrate now\n"
        );
    }

    #[test]
    fn a_long_one_is_broken_and_indented() {
        let shown = text(&diagnosis(&"too small ".repeat(20)), Width::TERMINAL);
        let shown = strip_str(&shown).to_string();
        assert!(shown.lines().all(|l| l.chars().count() <= 80), "{shown}");
        assert!(
            shown.lines().nth(1).unwrap().starts_with("         "),
            "{shown}"
        );
    }
}
